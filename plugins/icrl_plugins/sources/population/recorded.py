"""S copies of each of K tasks, stepped, reset and recorded together: what a population of learners lives in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from icrl_plugins.randomness.seeds import draw_episode_seed, episode_seeds
from icrl_plugins.sources.recording import HistoryRecorder
from icrl_registry.contracts import Array, BatchedStep, Environment, LearningHistory, Task


class RecordedPopulation:
    """Rows r = k·S + s: stream s of task k. A row whose episode ended begins the next one at once.

    The e-th episode of stream s of task k is reset with the e-th number that `draw_episode_seed` draws from
    `episode_seeds(stream_seeds[k] + s)`, as in the sources on Stable-Baselines3.
    """

    def __init__(
        self,
        environment: Environment,
        tasks: Sequence[Task],
        stream_seeds: Sequence[int],
        num_streams: int,
        num_steps: int,
        record_policy_means: bool = False,
    ) -> None:
        self._batch = environment.make_batch([task for task in tasks for _ in range(num_streams)])
        self.recorder = HistoryRecorder(self._batch, tasks, environment.spec, num_steps, record_policy_means)
        self._seeds = [episode_seeds(seed + stream) for seed in stream_seeds for stream in range(num_streams)]

    @property
    def observations(self) -> Array:
        """What the next actions are chosen from, (K·S, O)."""
        return self.recorder.current

    def begin(self) -> None:
        """Starts the first episode of every row."""
        for row in range(self.recorder.num_rows):
            self._reset(row)

    def step(self, actions: Array) -> BatchedStep:
        """Executes `actions` (K·S, A), records, and resets the rows that ended; gives the step with true successors."""
        step = self.recorder.step(actions)
        for row in np.flatnonzero(step.terminated | step.truncated):
            self._reset(int(row))
        return step

    def history(self, index: int) -> LearningHistory:
        """The complete history of the task at `index`."""
        return self.recorder.history(index)

    def save(self) -> tuple[dict[str, Array], dict[str, Any]] | None:
        """Tensors and JSON-able state; None where the environment can't be saved in the midst of an episode."""
        physics = self._batch.save()
        if physics is None:
            return None
        tensors = {f"physics.{name}": values for name, values in physics.items()}
        tensors |= {f"recorded.{name}": values for name, values in self.recorder.save().items()}
        return tensors, {"episode_seeds": [generator.bit_generator.state for generator in self._seeds]}

    def restore(self, tensors: Mapping[str, Array], state: Mapping[str, Any]) -> None:
        """Goes on from what `save` gave."""
        for generator, saved in zip(self._seeds, state["episode_seeds"], strict=True):
            generator.bit_generator.state = saved
        self._batch.restore(_with_prefix(tensors, "physics."))
        self.recorder.restore(_with_prefix(tensors, "recorded."))

    def close(self) -> None:
        """Frees the simulators."""
        self._batch.close()

    def _reset(self, row: int) -> None:
        self.recorder.reset(row, draw_episode_seed(self._seeds[row]))


def _with_prefix(tensors: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)}
