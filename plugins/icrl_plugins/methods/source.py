"""The environment's own source algorithm as a row: it learns every test task from scratch.

The row is the very run that the oracle's score is taken from, replayed from the histories of the test tasks. Its curve
says what the task costs an algorithm that knows nothing of the family, and its end is the oracle.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Agent, BackboneFactory, Checkpoint, EnvironmentSpec, Method, TrainingJob
from icrl_registry.errors import PluginError, UsageError


class SourceMethodConfig(ComponentConfig):
    """Nothing to set: the source's settings are the protocol's."""


class SourceLearning(Method):
    """No meta-training, no agent: the recorded run of the source on each test task."""

    Config: ClassVar[type[ComponentConfig]] = SourceMethodConfig
    training_data: ClassVar[Literal["histories", "tasks", "none"]] = "none"
    adaptation: ClassVar[Literal["agent", "source"]] = "source"

    def __init__(self, config: ComponentConfig, backbone: BackboneFactory | None = None) -> None:
        if backbone is not None:
            raise UsageError("source is the source's own run and takes no backbone", "run it with --method source")

    def train(self, job: TrainingJob) -> Checkpoint:
        """Nothing is learned before the test task."""
        return Checkpoint({}, {})

    def agent(self, checkpoint: Checkpoint, spec: EnvironmentSpec, device: str) -> Agent:
        """There is none.

        Raises:
            PluginError: always; the harness replays the recorded runs instead.
        """
        raise PluginError("source has no agent", "its row comes from the test tasks' histories")
