"""The loop, on a learner whose every number is known: what it calls, when it saves, and that no interruption shows."""

from types import SimpleNamespace

import numpy as np
import pytest

from icrl_plugins.training.loop import Learner, LoopConfig, run_training
from icrl_registry.contracts import Checkpoint


class Interrupted(BaseException):
    pass


class Store:
    def __init__(self) -> None:
        self.kept, self.at = None, []

    def load(self):
        return self.kept

    def save(self, checkpoint: Checkpoint) -> None:
        self.kept = checkpoint
        self.at.append(checkpoint.state["updates"])


class Counter(Learner):
    """Adds the update's number to its weight, `each` updates a round."""

    def __init__(self, total: int = 10, each: int = 1) -> None:
        self.total, self.each = total, each
        self.done, self.weight = 0, 0.0
        self.begun = self.closed = 0

    update = property(lambda self: self.done)
    num_updates = property(lambda self: self.total)

    def begin(self) -> None:
        self.begun += 1

    def updates(self):
        try:
            while self.done < self.total:
                for _ in range(self.each):
                    self.done += 1
                    self.weight += self.done
                yield {"weight": self.weight}
        finally:
            self.closed += 1

    def agent(self):
        return self

    def parameters(self):
        return {"model.weight": np.array([self.weight])}

    def progress(self):
        return {"model.weight": np.array([self.weight])}

    def resume(self, progress: Checkpoint) -> None:
        self.weight, self.done = float(progress.tensors["model.weight"][0]), int(progress.state["updates"])

    def constants(self):
        return {"constant": np.array([7.0])}

    def state(self):
        return {"updates": self.done}


def job(store=None, report=lambda *numbers: None, validate=lambda agent: {"last_episodes": -abs(agent.weight - 10)}):
    return SimpleNamespace(checkpoints=store or Store(), report=report, validate=validate)


def test_it_trains_reports_and_gives_what_an_agent_needs() -> None:
    reports, store, learner = [], Store(), Counter()
    final = run_training(learner, job(store, lambda *each: reports.append(each)), LoopConfig(checkpoint_every=4))
    assert [(done, total) for done, total, _ in reports] == [(n, 10) for n in range(1, 11)]
    assert reports[3][2] == {"weight": 10.0}
    assert store.at == [4, 8, 10]
    assert {name: float(tensor[0]) for name, tensor in final.tensors.items()} == {"model.weight": 55.0, "constant": 7.0}
    assert final.state == {"updates": 10, "validations": [], "best_update": None}
    assert (learner.begun, learner.closed) == (1, 1)


def test_rounds_validate_and_save_when_a_multiple_was_passed() -> None:
    reports, store = [], Store()
    config = LoopConfig(checkpoint_every=5, validation_every=4)
    run_training(Counter(total=10, each=3), job(store, lambda *each: reports.append(each)), config)
    assert [done for done, *_ in reports] == [3, 6, 9, 10]  # never beyond the total
    assert ["validation_last_episodes" in metrics for *_, metrics in reports] == [False, True, True, True]
    assert store.at == [6, 12]


@pytest.mark.parametrize("at", range(1, 11))
def test_interrupted_anywhere_it_ends_as_if_it_never_was(at: int) -> None:
    config = LoopConfig(checkpoint_every=3, validation_every=2, select_best=True)
    straight = run_training(Counter(), job(), config)
    assert straight.state["best_update"] == 4

    def report(done: int, total: int, metrics) -> None:
        if done == at:
            raise Interrupted

    store, first, second = Store(), Counter(), Counter()
    with pytest.raises(Interrupted):
        run_training(first, job(store, report), config)
    assert first.closed == 1
    had_progress = bool(store.at)
    again = run_training(second, job(store), config)
    assert second.begun == int(not had_progress)
    assert again.state == straight.state
    assert again.tensors.keys() == straight.tensors.keys()
    assert all(np.array_equal(again.tensors[name], tensor) for name, tensor in straight.tensors.items())


def test_a_training_that_had_finished_takes_no_update() -> None:
    store = Store()
    first = run_training(Counter(), job(store), LoopConfig())
    second = run_training(Counter(), job(store, report=None), LoopConfig())
    assert first.state == second.state
    assert np.array_equal(first.tensors["model.weight"], second.tensors["model.weight"])
