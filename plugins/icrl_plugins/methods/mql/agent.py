"""A meta-trained Q-learner in unseen tasks: it plays, adapts by gradient steps once it has seen enough, and plays on.

The episodes that it collects to adapt are played by the meta-trained policy, without noise; so the first return of every
task is the return before adaptation. `begin` is the rollback: every task starts from the meta-trained parameters with
optimisers that have no memory.
"""

from __future__ import annotations

import numpy as np
import torch

from icrl_plugins.methods.mql.adaptation import MetaTrained, adapt
from icrl_plugins.methods.mql.episodes import Episode, RunningEpisodes
from icrl_plugins.methods.mql.networks import Networks
from icrl_plugins.randomness.seeds import child_seed
from icrl_registry.contracts import AdaptationSetting, Agent, Array, EnvironmentSpec, FloatArray, Transitions

# The independent streams of one task, as children of its seed.
_DUMMY, _ADAPTATION = 0, 1


class MQLAgent(Agent):
    """K tasks, each with its own copy of the parameters."""

    def __init__(self, meta: MetaTrained, spec: EnvironmentSpec, device: str) -> None:
        self.meta = meta
        self.config = meta.config
        self.spec = spec
        self.device = device

    def begin(self, setting: AdaptationSetting) -> None:
        """Back to the meta-trained parameters, with no episode of its own."""
        count = setting.num_tasks
        self.networks: Networks = self.meta.networks.copies(count).requires_grad_(False)
        self._running = RunningEpisodes(count, self.spec, self.config.history_length, self.meta.replay.standardisation)
        self._own: list[list[Episode]] = [[] for _ in range(count)]
        self._starts = np.ones(count, dtype=np.bool_)
        self._adaptations = np.zeros(count, dtype=np.int64)
        self._seeds = [child_seed(setting.seed, task) for task in range(count)]
        self._dummies = [np.random.default_rng(child_seed(seed, _DUMMY)) for seed in self._seeds]
        self._contexts = torch.zeros(count, 1, self.config.context_size, device=self.device)  # of unbounded histories
        self._returns = np.zeros(count)  # of the running episodes
        self._before: dict[int, float] = {}  # return of the last episode before the first adaptation
        self._after: dict[int, float] = {}  # and of the first one after it
        self._diagnostics: dict[int, dict[str, float]] = {}

    @torch.no_grad()
    def act(self, observations: FloatArray) -> FloatArray:
        """(K, O) → (K, A) in (-1, 1)."""
        for row in map(int, np.flatnonzero(self._starts)):
            normal = self._dummies[row].standard_normal(self.spec.action_size)
            self._running.start(row, observations[row], self.config.dummy_action(normal))
        self._starts[:] = False
        inputs = torch.from_numpy(self._running.observations(observations))[:, None].to(self.device)  # (K, 1, O)
        actions: FloatArray = self.networks.actor(inputs, self._encode())[:, 0].cpu().numpy()
        return actions

    def _encode(self) -> torch.Tensor:
        """Contexts (K, 1, Z): padded as in training until a task has adapted, then as the configuration says."""
        windows, real = (torch.from_numpy(part)[:, :, None].to(self.device) for part in self._running.windows())
        pad = torch.from_numpy((self._adaptations == 0) | self.config.pad_evaluation).to(self.device)
        contexts = self.networks.actor.encode(windows, real.maximum(pad.float()[:, None, None, None]))
        gru = self.networks.actor.context
        if self.config.unbounded_history and gru is not None:
            newest = torch.from_numpy(self._running.newest())[:, None].to(self.device)
            # Until a history is longer than a window, the window is the whole of it.
            longer = torch.from_numpy(self._running.counts() > self.config.history_length).to(self.device)
            unbounded = torch.where(longer[:, None, None], gru.step(newest, self._contexts), contexts)
            self._contexts = unbounded
            return torch.where(
                torch.from_numpy(self._adaptations > 0)[:, None, None].to(self.device), unbounded, contexts
            )
        return contexts

    def observe(self, transitions: Transitions) -> None:
        """Keeps the step; where an episode ends and enough are there, adapts."""
        ended = transitions.active & (transitions.terminated | transitions.truncated)
        for row in map(int, np.flatnonzero(transitions.active)):
            action = np.asarray(transitions.actions[row], dtype=np.float32)
            self._running.append(row, transitions.observations[row], action, float(transitions.rewards[row]))
            self._returns[row] += float(transitions.rewards[row])
            if ended[row]:
                last, terminated = transitions.next_observations[row], bool(transitions.terminated[row])
                self._own[row].append(self._running.finish(row, last, terminated))
                (self._after if self._adaptations[row] else self._before).setdefault(row, self._returns[row])
                self._returns[row] = 0.0
        self._starts |= ended
        due = [row for row in map(int, np.flatnonzero(ended)) if self._is_due(row)]
        if due:
            self._adapt(due)

    def _is_due(self, row: int) -> bool:
        """Whether `row` has, with the episode that just ended, seen enough to adapt (anew)."""
        since = len(self._own[row]) - self.config.adaptation_episodes
        return since == 0 or (since > 0 and self.config.readapt_every > 0 and since % self.config.readapt_every == 0)

    def _adapt(self, rows: list[int]) -> None:
        """Tasks whose episodes end together adapt together. All active tasks have taken equally many steps."""
        seeds = [child_seed(self._seeds[row], _ADAPTATION, int(self._adaptations[row])) for row in rows]
        learner, diagnostics = adapt(self.meta, [self._own[row] for row in rows], seeds)
        where = torch.tensor(rows, device=self.device)
        with torch.no_grad():
            for mine, adapted in zip(self.networks.parameters(), learner.networks.parameters(), strict=True):
                mine[where] = adapted
        self._adaptations[rows] += 1
        self._diagnostics.update(zip(rows, diagnostics, strict=False))

    def diagnostics(self) -> dict[str, float]:
        """Means over tasks: return before and after adaptation, and what the propensity model made of the replay."""
        found = {
            "return_before_adaptation": _mean(list(self._before.values())),
            "return_after_adaptation": _mean(list(self._after.values())),
            "adaptations": float(self._adaptations.mean()),
        }
        names = sorted({name for each in self._diagnostics.values() for name in each})
        return found | {name: _mean([each[name] for each in self._diagnostics.values()]) for name in names}


def _mean(values: list[float] | Array) -> float:
    """0 of nothing."""
    return float(np.mean(values)) if len(values) else 0.0
