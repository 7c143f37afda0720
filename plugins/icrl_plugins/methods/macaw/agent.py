"""MACAW in unseen tasks, all of them at once: collect or be given a batch, adapt to it by the inner step, act.

Offline track: the batch is drawn from the test task's own source history, as published. Online track: the meta-learned
policy, not adapted to anything, explores with the noise of its distribution, and what it saw is the batch. After that the
mean of the adapted policy acts, and the batch may be renewed or the weights fine-tuned as episodes end.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from icrl_plugins.methods.macaw.config import MACAWConfig
from icrl_plugins.methods.macaw.data import returns_to_go, stack, task_data, uniform_rows
from icrl_plugins.methods.macaw.finetuning import TaskTuning
from icrl_plugins.methods.macaw.meta_learning import MetaBatch, MetaLearner
from icrl_plugins.methods.macaw.networks import weights_of
from icrl_plugins.randomness.seeds import child_seed
from icrl_plugins.training.normalisation import Normalisation
from icrl_registry.contracts import (
    AdaptationSetting,
    Agent,
    Array,
    BoolArray,
    EnvironmentSpec,
    FloatArray,
    Transitions,
)
from icrl_registry.errors import BenchError

Columns = tuple[FloatArray, ...]  # those of `MetaBatch`, (n, …) each


class MACAWAgent(Agent):
    """Acts by a meta-learner. Every computation is for all K tasks; who has nothing to adapt to keeps what it had."""

    def __init__(self, learner: MetaLearner, normalisation: Normalisation, spec: EnvironmentSpec, device: str) -> None:
        self.learner = learner
        self.config = learner.config
        self.normalisation = normalisation
        self.spec = spec
        self.device = device

    def begin(self, setting: AdaptationSetting) -> None:
        """See `Agent.begin`. On the offline track it adapts here."""
        count = setting.num_tasks
        self.num_tasks = count
        self._online = setting.track == "online"
        self.explores = np.full(count, self._online)  # (K,)
        self._noise = np.random.default_rng(child_seed(setting.seed, 0))
        self._rows = [np.random.default_rng(child_seed(setting.seed, 1, row)) for row in range(count)]
        self._policy = [weights.detach() for weights in weights_of(self.learner.policy.start(count))]
        self._value = [weights.detach() for weights in weights_of(self.learner.value.start(count))]
        self._experience = _Experience(count, self.config.discount, self.normalisation)
        self._tuning: dict[int, TaskTuning] = {}
        self._adapted_episodes = np.zeros(count, dtype=np.int64)  # (K,), finished since the adaptation
        self._numbers: dict[str, Array] = {}  # (K,) each, of the last adaptation
        budget = self.config.collect_episodes or max(1, setting.num_episodes // 2)
        self._enough_episodes = min(budget, setting.num_episodes)
        if not self._online:
            self._adapt_to_histories(setting)

    @torch.inference_mode()
    def act(self, observations: FloatArray) -> FloatArray:
        """(K, O) → (K, A) in [-1, 1]: the policy's mean, or exploration where a task has not been adapted to."""
        inputs = torch.from_numpy(self.normalisation.observations(observations)).to(self.device)
        actions: FloatArray = self.learner.policy(self._policy, inputs[:, None])[:, 0].cpu().numpy()
        normal = self._noise.standard_normal(actions.shape)
        explored = actions + self.config.policy_std * normal
        if self.config.exploration == "random":
            explored = self._noise.uniform(-1.0, 1.0, actions.shape)
        if self.config.finetune:
            actions = actions + self.config.finetune_noise * normal
        return np.clip(np.where(self.explores[:, None], explored, actions), -1.0, 1.0).astype(np.float32)

    def observe(self, transitions: Transitions) -> None:
        """Keeps what may be learned from; where an episode ended, adapts the task if its data suffice, or fine-tunes."""
        if not self._records():
            return
        ended = self._experience.append(transitions)
        if not ended.any():
            return
        adapted = ended & ~self.explores
        ready = ended & self.explores & self._enough()
        if self.config.online_adaptation == "every_episode":
            ready |= adapted
        if ready.any():
            self._adapt_to([self._draw(row) if chosen else None for row, chosen in enumerate(ready)])
            self.explores &= ~ready
        self._adapted_episodes += adapted
        if self.config.finetune:
            for row in map(int, np.flatnonzero(ready)):
                self._experience.forget(row)  # fine-tuning starts from an empty buffer
            # As published: the first episode after the burn-in is kept, and the one after it is followed by updates.
            for row in map(int, np.flatnonzero(adapted & (self._adapted_episodes > self.config.finetune_burn_in + 1))):
                self._finetune(row)

    def diagnostics(self) -> dict[str, float]:
        """Means over the tasks of what the last adaptation did, and the learned constants of the inner step."""
        numbers = {name: float(values.mean()) for name, values in self._numbers.items()}
        return {"adapted_tasks": float((~self.explores).sum()), **numbers, **self.learner.learned_constants()}

    def _records(self) -> bool:
        again = self._online and self.config.online_adaptation == "every_episode"
        return self.config.finetune or again or bool(self.explores.any())

    def _draw(self, row: int) -> Columns:
        return self._experience.sample(row, self.config, self._rows[row], self.config.online_sampling)

    def _enough(self) -> BoolArray:
        rows, episodes = self._experience.num_rows, self._experience.num_episodes
        full = rows >= self.config.adaptation_batch_size
        if self.config.collect_episodes is not None:
            full = np.zeros_like(full)
        enough: BoolArray = full | (episodes >= self._enough_episodes)
        return enough

    def _adapt_to_histories(self, setting: AdaptationSetting) -> None:
        if setting.offline_histories is None:
            raise BenchError("the offline track gave no histories", "run it with --track online")
        parts: list[Columns | None] = []
        for row, history in enumerate(setting.offline_histories):
            data = task_data(history, self.config)
            chosen = data.inner_sample(self.config.offline_sampling, self.config.adaptation_batch_size, self._rows[row])
            parts.append(data.transitions.batch(chosen, self.normalisation))
        self._adapt_to(parts)

    def _adapt_to(self, parts: list[Columns | None]) -> None:
        """Adapts from the meta-learned weights, each task to its own columns; None leaves a task as it is."""
        given = next(part for part in parts if part is not None)
        ready = torch.tensor([part is not None for part in parts], device=self.device)
        batch = stack([part or tuple(np.zeros_like(column) for column in given) for part in parts]).to(self.device)
        adaptation = self.learner.adapt(batch)
        adapted = [weights.detach() for weights in weights_of(adaptation.policy)]
        with torch.no_grad():
            shift = self._shift(adapted, batch)
            after = self.learner.inner_value_losses(weights_of(adaptation.value), batch)
        self._policy = _choose(ready, adapted, self._policy)
        self._value = _choose(ready, [weights.detach() for weights in weights_of(adaptation.value)], self._value)
        self._note(
            ready,
            rows_used=torch.full((self.num_tasks,), float(batch.returns.shape[1])),
            value_loss_before=adaptation.value_losses,
            value_loss_after=after,
            action_shift=shift,
        )

    def _finetune(self, row: int) -> None:
        """The updates of one task after one of its episodes."""
        if row not in self._tuning:
            own = [[weights[row : row + 1] for weights in each] for each in (self._value, self._policy)]
            self._tuning[row] = TaskTuning(self.learner, *own)

        def draw() -> MetaBatch:
            return stack([self._experience.sample(row, self.config, self._rows[row], "uniform")]).to(self.device)

        self._tuning[row].update(draw)
        for weights, tuned in zip(self._policy, self._tuning[row].policy, strict=True):
            weights[row] = tuned.detach()[0]

    def _shift(self, adapted: list[torch.Tensor], batch: MetaBatch) -> torch.Tensor:
        """Mean distance between adapted and un-adapted mean actions on the batch, (K,)."""
        before = weights_of(self.learner.policy.start(self.num_tasks))
        means = [self.learner.policy(weights, batch.observations) for weights in (adapted, before)]
        return (means[0] - means[1]).norm(dim=-1).mean(dim=1)

    def _note(self, ready: torch.Tensor, **numbers: torch.Tensor) -> None:
        rows = ready.cpu().numpy()
        for name, values in numbers.items():
            before = self._numbers.get(name, np.zeros(self.num_tasks))
            self._numbers[name] = np.where(rows, values.detach().cpu().numpy().astype(np.float64), before)


class _Experience:
    """The complete episodes of K tasks, as columns of `MetaBatch`."""

    def __init__(self, num_tasks: int, discount: float, normalisation: Normalisation) -> None:
        self.discount = discount
        self.normalisation = normalisation
        self.num_rows = np.zeros(num_tasks, dtype=np.int64)
        self.num_episodes = np.zeros(num_tasks, dtype=np.int64)
        self._episodes: list[list[Columns]] = [[] for _ in range(num_tasks)]
        self._steps: list[list[tuple[Array, Array, float]]] = [[] for _ in range(num_tasks)]  # of the episode under way

    def append(self, transitions: Transitions) -> BoolArray:
        """Takes in one step of every active task; returns whose episode ended, (K,)."""
        for row in map(int, np.flatnonzero(transitions.active)):
            observation, action = transitions.observations[row].copy(), transitions.actions[row].copy()
            self._steps[row].append((observation, action, float(transitions.rewards[row])))
        ended: BoolArray = transitions.active & (transitions.terminated | transitions.truncated)
        for row in map(int, np.flatnonzero(ended)):
            self._close(row, transitions.next_observations[row], bool(transitions.terminated[row]))
        return ended

    def forget(self, row: int) -> None:
        """Drops all complete episodes of task `row`."""
        self._episodes[row].clear()
        self.num_rows[row] = self.num_episodes[row] = 0

    def _close(self, row: int, last_observation: Array, terminated: bool) -> None:
        observations, actions, rewards = (
            np.array(column, np.float32) for column in zip(*self._steps[row], strict=True)
        )
        flags = np.full(len(rewards), terminated)
        returns, discounts, _ = returns_to_go(rewards, [(0, len(rewards))], flags, self.discount)
        normalise = self.normalisation.observations
        last = np.broadcast_to(normalise(last_observation), observations.shape)
        self._episodes[row].append(
            (normalise(observations), actions, self.normalisation.rewards(returns), discounts, last)
        )
        self.num_rows[row] += len(rewards)
        self.num_episodes[row] += 1
        self._steps[row] = []

    def sample(
        self, row: int, config: MACAWConfig, generator: np.random.Generator, sampling: Literal["latest", "uniform"]
    ) -> Columns:
        """A batch of task `row`: its newest transitions, or some drawn from all complete episodes."""
        columns = [np.concatenate(column) for column in zip(*self._episodes[row], strict=True)]
        rows, count = np.arange(len(columns[2])), config.adaptation_batch_size
        far_from_cut = rows[columns[3] <= config.inner_max_discount_to_end]
        rows = far_from_cut if len(far_from_cut) else rows
        chosen = uniform_rows(rows[-count:] if sampling == "latest" else rows, count, generator)
        return tuple(column[chosen] for column in columns)


def _choose(ready: torch.Tensor, new: list[torch.Tensor], old: list[torch.Tensor]) -> list[torch.Tensor]:
    """For each layer the new weights (K, P) of the tasks that are `ready` (K,), the old ones of the others."""
    return [torch.where(ready[:, None], first, second) for first, second in zip(new, old, strict=True)]
