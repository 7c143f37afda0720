"""Imported learning histories that also say what an expert of each task would have done: labels for methods that imitate.

A source beside `imported`, so that data without experts keep their addresses. The experts' actions are a column of the data
(`expert_actions`, a row for every step), and the policy that is given back is a table of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from icrl_plugins.sources.imported import Imported, ImportedConfig
from icrl_registry.contracts import (
    Array,
    CheckpointStore,
    Environment,
    EnvironmentSpec,
    FloatArray,
    GreedyPolicy,
    SourceRun,
    Task,
)
from icrl_registry.errors import UsageError

COLUMN = "expert_actions"
OBSERVATIONS, ACTIONS = "expert.observations", "expert.actions"
#: Observations that are compared with all recorded ones at a time.
CHUNK = 256


class ImportedExperts(Imported):
    """Yields the imported histories with their experts; a task without expert actions has no policy."""

    Config = ImportedConfig

    def collect(
        self,
        environment: Environment,
        tasks: Sequence[Task],
        seeds: Sequence[np.random.SeedSequence],
        report_steps: Callable[[int], None],
        checkpoints: CheckpointStore | None = None,
    ) -> Iterator[SourceRun]:
        """See `Source.collect`. A run's policy is the different observations of its history (N, O) and their labels (N, A)."""
        folder, data = self._open()
        for task, run in zip(tasks, super().collect(environment, tasks, seeds, report_steps), strict=True):
            actions = _column(folder, data.entry_of(task))
            if actions is None:
                yield run
                continue
            history = replace(run.history, expert_actions=actions)
            seen = np.ascontiguousarray(history.observations).reshape(-1, history.observations.shape[-1])
            _, first = np.unique(_keys(seen), return_index=True)  # sorted by what `_keys` makes of them
            yield SourceRun(history, {OBSERVATIONS: seen[first], ACTIONS: actions.reshape(len(seen), -1)[first]})

    def greedy_policy(
        self, policy_tensors: Mapping[str, Array], environment_spec: EnvironmentSpec
    ) -> GreedyPolicy | None:
        """The expert of a task, or None where the data have none of it.

        Raises:
            UsageError: the tensors are not those of an expert in this environment.
        """
        if not policy_tensors:
            return None
        seen, actions = (policy_tensors.get(name) for name in (OBSERVATIONS, ACTIONS))
        sizes = environment_spec.observation_size, environment_spec.action_size
        if seen is None or actions is None or (np.shape(seen)[-1], np.shape(actions)[-1]) != sizes:
            raise UsageError(
                "the tensors are not an expert's of this environment", "rebuild it with the environment of its data"
            )
        return RecordedExpert(np.asarray(seen), np.asarray(actions))


class RecordedExpert:
    """The recorded action of an observation; of one that was not recorded, the action of the nearest (Euclidean) one."""

    def __init__(self, observations: FloatArray, actions: FloatArray) -> None:
        """Observations (N, O), each once and in the order of `_keys`; actions (N, A)."""
        self.observations, self.actions = observations, actions
        self._sorted = _keys(observations)

    def __call__(self, observations: FloatArray) -> FloatArray:
        """(M, O) → (M, A)."""
        asked = np.ascontiguousarray(observations, dtype=np.float32)
        keys = _keys(asked)
        found = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        unknown = np.flatnonzero(self._sorted[found] != keys)
        for begin in range(0, len(unknown), CHUNK):
            rows = unknown[begin : begin + CHUNK]
            gaps = np.square(self.observations[None].astype(np.float64) - asked[rows, None]).sum(axis=-1)
            found[rows] = gaps.argmin(axis=-1)
        labels: FloatArray = self.actions[found]
        return labels


def _keys(observations: FloatArray) -> Any:
    """(N, O) float32 → (N,) keys that can be sorted: equal for equal numbers, with 0 and -0 as one."""
    plain = np.ascontiguousarray(observations + np.float32(0))
    return plain.view(np.dtype((np.void, plain.shape[-1] * plain.itemsize))).reshape(-1)


def _column(folder: Path, entry: Mapping[str, Any]) -> FloatArray | None:
    """The experts' actions (S, T, A) in a file that was compared with its checksum."""
    from safetensors.numpy import load

    return load((folder / Path(str(entry["file"])).name).read_bytes()).get(COLUMN)
