"""The training loop of a method, written once: load, resume, train, validate, report, save, and the final checkpoint.

A method describes what it trains as a `Learner` and hands it to `run_training` inside its `train`:

    class Mine(Method):
        Config = MyConfig                       # derives from LoopConfig (and, for AdamW's settings, OptimisationConfig)

        def train(self, job):
            return run_training(MyLearner(self.config, job), job, self.config)

What descends one loss with one optimiser derives from `GradientLearner` and says what a batch is, what its loss is and
who acts by the parameters; `tests/third_party/icrl_third_party/copycat.py` is the smallest example. Whatever trains
otherwise (rounds of episodes, several optimisers) derives from `Learner`; `methods/mql/trainer.py` is one.

Interrupted anywhere and started again, a training ends with the same bytes as one that was never interrupted, provided that
what `Learner.updates` does depends only on the update's number and on what `Learner.progress` holds. Draw from a generator
made of the seed and the number (`child_seed`), or keep the generator's state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any, Generic, TypeVar

import torch
from pydantic import Field

from icrl_plugins.training.checkpoints import module_tensors
from icrl_plugins.training.gradient_training import GradientTraining, prefetched
from icrl_plugins.training.model_selection import ModelSelection, ModelSelectionConfig
from icrl_registry.contracts import Agent, Array, Checkpoint, TrainingJob

Batch = TypeVar("Batch")


class LoopConfig(ModelSelectionConfig):
    """When to validate, what to keep and when to save, under the same names in every method."""

    checkpoint_every: int = Field(100, ge=1, description="Updates between saved progress.")


class Learner(ABC):
    """What a method trains, as the loop needs it."""

    @property
    @abstractmethod
    def update(self) -> int:
        """Updates done so far."""

    @property
    @abstractmethod
    def num_updates(self) -> int:
        """Updates in all. The last round may go beyond."""

    @abstractmethod
    def updates(self) -> Generator[Mapping[str, float], None, None]:
        """Trains from where it stands to the end; yields metrics for the report after every update or round of updates.

        The loop validates and saves between two of them, and closes the generator when it is interrupted.
        """

    @abstractmethod
    def agent(self) -> Agent:
        """An agent that acts by the parameters as they stand, for a validation. It must not change them."""

    @abstractmethod
    def parameters(self) -> dict[str, Array]:
        """Copies of what a selection of the best may choose, by name in the final checkpoint (`model.NAME` is counted)."""

    @abstractmethod
    def progress(self) -> dict[str, Array]:
        """Everything, by name, that training goes on from beside `state`: parameters, moments, generators, data."""

    @abstractmethod
    def resume(self, progress: Checkpoint) -> None:
        """Goes on from what `progress` and `state` gave."""

    def begin(self) -> None:  # noqa: B027 - most have nothing to do
        """Called once before the first update of a training that has no saved progress; for a replay to be filled, say."""

    def constants(self) -> dict[str, Array]:
        """Tensors of the final checkpoint beside `parameters`: what an agent needs and no selection touches."""
        return {}

    def state(self) -> dict[str, Any]:
        """The JSON-able part of saved progress and of the final checkpoint, such as the configuration."""
        return {}


class GradientLearner(Learner, Generic[Batch]):
    """One module, one optimiser, one loss a batch. A subclass says what they are.

    Batches are made by a thread, one ahead of the update that uses them.
    """

    def __init__(self, training: GradientTraining) -> None:
        self.training = training
        self.module = training.module

    @abstractmethod
    def batch(self, number: int) -> Batch:
        """The batch of update `number` (from 0), a function of the number alone. Called in another thread."""

    @abstractmethod
    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        """The scalar to descend, with its graph, and more metrics of it."""

    def updated(self, batch: Batch) -> Mapping[str, float]:
        """Called after each update: what must follow it (target networks, counters), and metrics that stand then."""
        return {}

    @property
    def update(self) -> int:
        return self.training.update

    @property
    def num_updates(self) -> int:
        return self.training.num_updates

    def updates(self) -> Generator[Mapping[str, float], None, None]:
        with closing(prefetched(self.batch, self.update, self.num_updates)) as batches:
            for batch in batches:
                yield self._step(batch)

    def _step(self, batch: Batch) -> dict[str, float]:
        metrics = {"learning_rate": self.training.learning_rate}

        def compute_loss() -> torch.Tensor:
            loss, more = self.loss(batch)
            metrics.update(more)
            return loss

        metrics["loss"] = self.training.step(compute_loss)
        return {**metrics, **self.updated(batch)}

    def parameters(self) -> dict[str, Array]:
        return module_tensors(self.module)

    def progress(self) -> dict[str, Array]:
        return self.training.tensors()

    def resume(self, progress: Checkpoint) -> None:
        """See `Learner.resume`. Override to restore what `progress` and `state` add, and call this first."""
        self.training.resume(progress.tensors, int(progress.state["updates"]))

    def state(self) -> dict[str, Any]:
        """See `Learner.state`. Override to add to it."""
        return {"updates": self.update}


def run_training(learner: Learner, job: TrainingJob, config: LoopConfig) -> Checkpoint:
    """Trains `learner` from the last saved progress, or from the start, to the end.

    Reports after every update or round. Validates whenever `validation_every` updates were passed, and at the end; saves
    progress whenever `checkpoint_every` were passed, and at the end.

    Returns:
        The best parameters of the validations where `select_best` asks for them, else the last ones, with the learner's
        constants and state.

    Raises:
        PluginError: the metric to select by is not among those of the validation.
        NumericalError: what the learner raises where a number is not finite.
    """
    selection = ModelSelection(config, job.validate, learner.parameters)
    saved = job.checkpoints.load()
    if saved is None:
        learner.begin()
    else:
        learner.resume(saved)
        selection.resume(saved.tensors, saved.state)
    before, total = learner.update, learner.num_updates
    with closing(learner.updates()) as updates:
        for found in updates:
            done, metrics = learner.update, dict(found)
            if selection.due(done, total, before):
                metrics |= selection.validate(done, learner.agent())
            job.report(min(done, total), total, metrics)
            if done >= total or done // config.checkpoint_every > before // config.checkpoint_every:
                job.checkpoints.save(Checkpoint({**learner.progress(), **selection.best}, _state(learner, selection)))
            before = done
    return Checkpoint({**selection.parameters(), **learner.constants()}, _state(learner, selection))


def _state(learner: Learner, selection: ModelSelection) -> dict[str, Any]:
    return {**learner.state(), **selection.state()}
