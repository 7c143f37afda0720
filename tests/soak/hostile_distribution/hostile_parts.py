"""Methods that do what no method should: each differs from the toy in one way."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import numpy as np
from toy_parts import ToyAgent, ToyMethod

from icrl_registry.contracts import Checkpoint


class NoMethod:
    """Nothing of what the contract asks for."""


class WritingAgent(ToyAgent):
    def act(self, observations):
        with contextlib.suppress(ValueError):
            observations[:] = np.nan
        return super().act(np.nan_to_num(observations))

    def observe(self, transitions):
        for name in ("rewards", "observations", "next_observations", "actions", "active"):
            with contextlib.suppress(ValueError, AttributeError):
                getattr(transitions, name)[:] = 0
        super().observe(transitions)


class WritesInPlace(ToyMethod):
    """Changes the histories and whatever it is shown."""

    def train(self, job):
        for history in job.histories:
            for column in (history.rewards, history.actions, history.observations):
                with contextlib.suppress(ValueError):
                    column[:] = 1e6
        return super().train(job)

    def agent(self, checkpoint, spec, device):
        return WritingAgent(checkpoint.tensors["model.weights"], self.config)


class KeepsThreads(ToyMethod):
    """Leaves threads behind that never end."""

    def train(self, job):
        for _ in range(20):
            threading.Thread(target=lambda: time.sleep(10_000), daemon=True).start()
        return super().train(job)


class TurnsSwitches(ToyMethod):
    """Changes what all of a process shares."""

    def train(self, job):
        np.seterr(all="raise")
        np.random.seed(0)
        np.set_printoptions(precision=1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.environ.clear()
        os.umask(0o777)
        try:
            return super().train(job)
        finally:
            os.umask(0o022)


class MovesAway(ToyMethod):
    """Changes the working folder to one that is gone."""

    def train(self, job):
        folder = os.path.join(os.environ["TMPDIR"], "gone")
        os.mkdir(folder)
        os.chdir(folder)
        os.rmdir(folder)
        return super().train(job)


class ClosesOutput(ToyMethod):
    """Closes standard error, where progress is told."""

    def train(self, job):
        os.close(2)
        return super().train(job)


class MarkupAgent(ToyAgent):
    def diagnostics(self):
        return {"[bold]x[/bold]": 1.0, "\x1b[31m": 2.0, "<script>": 3.0, "../../x": 4.0, "x" * 200: 5.0}


class NamesWithMarkup(ToyMethod):
    """Diagnostics whose names are markup, control characters, paths."""

    def agent(self, checkpoint, spec, device):
        return MarkupAgent(checkpoint.tensors["model.weights"], self.config)


class TensorsWithPaths(ToyMethod):
    """Tensors named like paths."""

    def train(self, job):
        made = super().train(job)
        return Checkpoint(
            {**made.tensors, "../../../x": np.zeros(1), "\x00": np.zeros(1), "y" * 10_000: np.zeros(1)}, made.state
        )


class NotFiniteState(ToyMethod):
    """A state that JSON cannot hold."""

    def train(self, job):
        return Checkpoint(super().train(job).tensors, {"loss": float("nan")})


class ObjectsAsTensors(ToyMethod):
    """Tensors of Python objects."""

    def train(self, job):
        return Checkpoint({"model.weights": np.array([object()])}, {})


class NoCheckpoint(ToyMethod):
    """Nothing where a checkpoint belongs."""

    def train(self, job):
        return None


class RaisesBase(ToyMethod):
    """An error that is no Exception."""

    def train(self, job):
        raise BaseException("not even an Exception")


class Recurses(ToyMethod):
    """Calls itself without end."""

    def train(self, job):
        return self.train(job)


class HugeReport(ToyMethod):
    """Reports what is no number, and names without end."""

    def train(self, job):
        job.report(1, 2, {"x" * 100_000: 1.0, "nan": float("nan"), "[red]": float("inf")})
        return super().train(job)
