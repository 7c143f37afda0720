"""Episodes stored once, as rows of tuples, and the histories before and after a transition gathered from them by index.

An episode of L transitions is L + 2 rows [action, reward, observation] of one table:

    dummy (a small random action, 0, s_0) · (a_0, r_0, s_0) · … · (a_{L-1}, r_{L-1}, s_{L-1}) · end (0, 0, s_L)

So row i holds a transition, row i + 1 its next observation, rows i − T … i − 1 the history that the action was chosen from
(no further back than the dummy) and rows i − T + 1 … i the shifted one, in which the dummy never stands. Whatever lies
before an episode's begin is row 0 of the table, which is zeros: the padding.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from icrl_plugins.methods.mql.td3 import TD3Batch
from icrl_registry.contracts import Array, EnvironmentSpec, FloatArray

if TYPE_CHECKING:
    from icrl_plugins.methods.mql.standardisation import Standardisation

Tensor = torch.Tensor


@dataclass(frozen=True)
class Episode:
    """What an agent saw from a reset to an end or a cut."""

    rows: FloatArray  # (L + 2, F), as above
    terminated: bool  # the MDP ended with the last transition; false where it was cut

    @property
    def length(self) -> int:
        """L, the number of transitions."""
        return len(self.rows) - 2


class EpisodeTable:
    """The newest episodes with at most `capacity` transitions; whole episodes are dropped, oldest first."""

    def __init__(self, capacity: int, action_size: int, row_size: int, device: str = "cpu") -> None:
        self.capacity = capacity
        self.action_size = action_size
        self.standardisation: Standardisation | None = None  # of the rows; batches give the rewards that are learned
        self.rows = torch.zeros(1, row_size, device=device)  # row 0 is the padding
        self._ends_here = torch.zeros(1, device=device)  # 1 at transitions with which the MDP ended
        self._episodes: deque[tuple[int, int, int]] = deque()  # (first row, transitions, task), oldest first
        self._held = 0  # transitions
        self._head = 1  # where the next episode goes
        self._index: tuple[Array, Array, Array, Array] | None = None

    @property
    def device(self) -> str:
        """Where the rows are."""
        return str(self.rows.device)

    @property
    def num_transitions(self) -> int:
        """Transitions of all episodes held."""
        return self._held

    @property
    def index(self) -> tuple[Array, Array, Array, Array]:
        """First rows (E,), lengths (E,), tasks (E,), and the number of transitions before each episode and in all (E + 1,)."""
        if self._index is None:
            columns = np.array(self._episodes, dtype=np.int64).reshape(-1, 3)
            before = np.concatenate([[0], np.cumsum(columns[:, 1])])
            self._index = (columns[:, 0], columns[:, 1], columns[:, 2], before)
        return self._index

    def add(self, episode: Episode, task: int = 0) -> None:
        """Stores an episode and drops the oldest ones that there is no more room for.

        Raises:
            ValueError: the episode has no transition, or more than the table may hold.
        """
        if not 1 <= episode.length <= self.capacity:
            raise ValueError(f"an episode of {episode.length} transitions, expected 1 to {self.capacity}")
        while self._held + episode.length > self.capacity:
            self._held -= self._episodes.popleft()[1]
        if self._head + len(episode.rows) > len(self.rows):
            self._compact(len(episode.rows))
        first, end = self._head, self._head + len(episode.rows)
        self.rows[first:end] = torch.from_numpy(episode.rows).to(self.rows.device)
        self._ends_here[end - 2] = float(episode.terminated)
        self._episodes.append((first, episode.length, task))
        self._held += episode.length
        self._head = end
        self._index = None

    def _compact(self, room: int) -> None:
        """Moves what is held to the front of a table with `room` rows to spare, and with enough that this stays rare."""
        live = self._held + 2 * len(self._episodes) + room
        size = max(len(self.rows), 1 + live + live // 2)
        rows, ends_here = self.rows.new_zeros(size, self.rows.shape[1]), self._ends_here.new_zeros(size)
        head, moved = 1, deque[tuple[int, int, int]]()
        for first, length, task in self._episodes:
            rows[head : head + length + 2] = self.rows[first : first + length + 2]
            ends_here[head : head + length + 2] = self._ends_here[first : first + length + 2]
            moved.append((head, length, task))
            head += length + 2
        self.rows, self._ends_here, self._episodes, self._head = rows, ends_here, moved, head

    def locate(self, numbers: Array) -> tuple[Array, Array]:
        """Rows of the transitions with these numbers (oldest is 0), and the first rows of their episodes."""
        first, _, _, before = self.index
        episode = np.searchsorted(before, numbers, side="right") - 1
        return first[episode] + 1 + numbers - before[episode], first[episode]

    def newest_of_task(self, task: int, count: int) -> Array:
        """Numbers of the newest transitions of a task, at most `count`, oldest first."""
        _, lengths, tasks, before = self.index
        numbers = [np.arange(before[e], before[e] + lengths[e]) for e in np.flatnonzero(tasks == task)]
        return np.concatenate(numbers)[-count:] if numbers else np.zeros(0, dtype=np.int64)

    def batch(self, numbers: Array, history_length: int) -> TD3Batch:
        """The transitions with these numbers (K, B), with their histories of T = `history_length` tuples."""
        rows, first = self.locate(numbers)
        here, split = torch.from_numpy(rows).to(self.rows.device), self.action_size
        current, following = self.rows[here], self.rows[here + 1]  # (K, B, F)
        rewards = current[..., split]
        if self.standardisation is not None:
            rewards = rewards * self.standardisation.reward_spread + self.standardisation.reward_mean
        return TD3Batch(
            observations=current[..., split + 1 :],
            actions=current[..., :split],
            rewards=rewards,
            next_observations=following[..., split + 1 :],
            terminated=self._ends_here[here],
            histories=self._windows(rows - 1, first, history_length),
            next_histories=self._windows(rows, first + 1, history_length),
        )

    def histories(self, numbers: Array, history_length: int) -> Tensor:
        """The histories before the transitions alone, (K, T, B, F)."""
        rows, first = self.locate(numbers)
        return self._windows(rows - 1, first, history_length)

    def _windows(self, last: Array, earliest: Array, length: int) -> Tensor:
        """Rows last − T + 1 … last of (K, B) transitions, row 0 where that is before `earliest`: (K, T, B, F)."""
        rows = last[:, None] - np.arange(length - 1, -1, -1)[:, None]  # (K, T, B)
        rows = np.where(rows >= earliest[:, None], rows, 0)
        gathered = self.rows.index_select(0, torch.from_numpy(rows.ravel()).to(self.rows.device))
        return gathered.view(*rows.shape, -1)

    def tensors(self, max_transitions: int | None = None) -> dict[str, Array]:
        """The newest episodes with at most `max_transitions` in all, oldest first, as `replay.NAME`."""
        first, lengths, tasks, before = self.index
        limit = self.num_transitions if max_transitions is None else max_transitions
        kept = np.flatnonzero(before[-1] - before[:-1] <= limit)  # whole episodes
        spans = [np.arange(first[e], first[e] + lengths[e] + 2) for e in kept]
        rows = torch.from_numpy(np.concatenate([*spans, np.zeros(0, dtype=np.int64)]))
        ends = first[kept] + lengths[kept]
        return {
            "replay.rows": self.rows.cpu()[rows].numpy(),
            "replay.lengths": lengths[kept],
            "replay.tasks": tasks[kept],
            "replay.terminated": self._ends_here.cpu().numpy()[ends] > 0,
        }

    def load(self, tensors: Mapping[str, Array]) -> None:
        """Adds the episodes that `tensors` gave."""
        start = 0
        for length, task, terminated in zip(
            tensors["replay.lengths"], tensors["replay.tasks"], tensors["replay.terminated"], strict=True
        ):
            end = start + int(length) + 2
            self.add(Episode(np.asarray(tensors["replay.rows"][start:end]), bool(terminated)), int(task))
            start = end


class RunningEpisodes:
    """The episodes that R rows are in the middle of: what they act from, and what becomes an `Episode`.

    It takes raw numbers and keeps standardised ones, where there is a `standardisation`.
    """

    def __init__(
        self, num_rows: int, spec: EnvironmentSpec, history_length: int, standardisation: Standardisation | None = None
    ) -> None:
        self.action_size = spec.action_size
        self.standardisation = standardisation
        size = spec.action_size + 1 + spec.observation_size
        self._recent = np.zeros((num_rows, history_length, size), dtype=np.float32)  # newest last
        self._counts = np.zeros(num_rows, dtype=np.int64)  # tuples of the running episode, the dummy among them
        self._rows: list[list[FloatArray]] = [[] for _ in range(num_rows)]

    def start(self, row: int, observation: FloatArray, dummy_action: FloatArray) -> None:
        """A reset of `row`: the history is the dummy tuple alone."""
        self._recent[row] = 0.0
        self._counts[row] = 0
        self._rows[row].clear()
        self._append(row, self._tuple(dummy_action, 0.0, observation))

    def append(self, row: int, observation: FloatArray, action: FloatArray, reward: float) -> None:
        """One transition of `row`: the action taken at `observation`, and its reward."""
        seen = reward if self.standardisation is None else float(self.standardisation.reward(reward))
        self._append(row, self._tuple(action, seen, observation))

    def finish(self, row: int, last_observation: FloatArray, terminated: bool) -> Episode:
        """The episode of `row`, which ends here or is cut."""
        end = self._tuple(np.zeros(self.action_size, dtype=np.float32), 0.0, last_observation)
        return Episode(np.stack([*self._rows[row], end]), terminated)

    def observations(self, observations: FloatArray) -> FloatArray:
        """(…, O) as the networks take them."""
        raw = np.asarray(observations, dtype=np.float32)
        return raw if self.standardisation is None else self.standardisation.observations(raw)

    def windows(self) -> tuple[FloatArray, FloatArray]:
        """Histories (R, T, F), zeros before an episode's begin, and which tuples are real, (R, T, 1)."""
        length = self._recent.shape[1]
        real = np.arange(length) >= length - self._counts[:, None]
        return self._recent.copy(), real[..., None].astype(np.float32)

    def newest(self) -> FloatArray:
        """The newest tuples, (R, F)."""
        return self._recent[:, -1].copy()

    def counts(self) -> Array:
        """Tuples of each running episode, the dummy among them, (R,)."""
        return self._counts.copy()

    def _append(self, row: int, entry: FloatArray) -> None:
        self._recent[row, :-1] = self._recent[row, 1:]
        self._recent[row, -1] = entry
        self._counts[row] += 1
        self._rows[row].append(entry)

    def _tuple(self, action: FloatArray, reward: float, observation: FloatArray) -> FloatArray:
        return np.concatenate([action, [reward], self.observations(observation)]).astype(np.float32)


def own_table(
    episodes: Sequence[Sequence[Episode]],
    action_size: int,
    standardisation: Standardisation | None = None,
    device: str = "cpu",
) -> tuple[EpisodeTable, Array]:
    """The episodes of K tasks in one table, and the number of each task's first transition and of the end, (K + 1,)."""
    every = [(episode, task) for task, held in enumerate(episodes) for episode in held]
    counts = [sum(episode.length for episode in held) for held in episodes]
    table = EpisodeTable(sum(counts), action_size, every[0][0].rows.shape[1], device)
    table.standardisation = standardisation
    for episode, task in every:
        table.add(episode, task)
    return table, np.concatenate([[0], np.cumsum(counts)])
