"""Training that survives any interruption, disturbs nobody, and says what is wrong with its input."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from icrl_plugins.methods.algorithm_distillation import AlgorithmDistillation
from icrl_registry.contracts import Checkpoint
from icrl_registry.errors import BenchError, DamagedArtefactError, NumericalError, PluginError, UsageError

SMALL = {"episode_stride": 2, "updates": 12, "batch_size": 4, "checkpoint_every": 5}


class Killed(Exception):
    pass


def make_method(toy, **settings) -> AlgorithmDistillation:
    return AlgorithmDistillation(AlgorithmDistillation.Config(**{**SMALL, **settings}), toy.backbone)


@pytest.fixture(scope="module")
def histories(toy):
    return [toy.history(goal, 6, np.random.default_rng(index), index) for index, goal in enumerate([0.5, -0.7, 0.9])]


def assert_same(first: Checkpoint, second: Checkpoint) -> None:
    assert first.state == second.state
    assert set(first.tensors) == set(second.tensors)
    for name, tensor in first.tensors.items():
        assert np.array_equal(tensor, second.tensors[name]), name


def train_and_kill(toy, method, histories, store, at: int, **job) -> None:
    def report(done: int, total: int, metrics) -> None:
        if done == at:
            raise Killed

    with pytest.raises(Killed):
        method.train(toy.job(histories, store, report=report, **job))


def validation_by_parameters():
    """A validation whose score depends on the agent's parameters alone."""
    return lambda agent: {"last_episodes": -float(agent.model.head.bias.detach().square().sum()), "other": 1.0}


@pytest.mark.parametrize("at", [1, 5, 7, 12])
@pytest.mark.parametrize("settings", [{}, {"validation_every": 3, "select_best": True}, {"token_layout": "three"}])
def test_killed_anywhere_it_ends_with_the_same_bytes(toy, histories, at: int, settings) -> None:
    method = make_method(toy, **settings)
    straight = method.train(toy.job(histories, validate=validation_by_parameters()))
    store = toy.MemoryStore()
    train_and_kill(toy, method, histories, store, at, validate=validation_by_parameters())
    torch.rand(3)
    np.random.default_rng().random()
    resumed = make_method(toy, **settings).train(toy.job(histories, store, validate=validation_by_parameters()))
    assert_same(straight, resumed)
    # and a training that had finished is not trained further
    assert_same(straight, method.train(toy.job(histories, store, validate=validation_by_parameters())))


def test_the_seed_alone_decides_and_the_process_is_left_as_it_was(toy, histories) -> None:
    method = make_method(toy)
    before = torch.get_rng_state()
    first = method.train(toy.job(histories, seed=1))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(10)
    assert_same(first, method.train(toy.job(histories, seed=1)))
    other = method.train(toy.job(histories, seed=2))
    assert not np.array_equal(first.tensors["model.head.weight"], other.tensors["model.head.weight"])


def test_the_final_checkpoint_holds_what_an_agent_needs_and_no_more(toy, histories) -> None:
    method = make_method(toy, updates=4)
    store = toy.MemoryStore()
    checkpoint = method.train(toy.job(histories, store))
    assert {name.split(".")[0] for name in checkpoint.tensors} == {"model", "normalisation"}
    assert {name.split(".")[0] for name in store.checkpoint.tensors} == {"model", "optimiser", "generators"}
    backbone = sum(p.numel() for p in toy.TinyGRU().parameters())
    parts = (1 + 1 + 1 + 1) * 8 + 4 * 8  # four linear maps from one number to 8
    assert method.parameter_count(checkpoint) == backbone + parts + 2 * 32 + (32 + 1)  # 4 · 8 = 32: no projection
    assert checkpoint.state["updates"] == 4
    assert checkpoint.state["context_length"] == 30
    assert checkpoint.state["tokens_seen"] == 4 * 4 * 30


def test_progress_is_reported_and_saved_as_often_as_asked(toy, histories) -> None:
    reports = []
    store = toy.MemoryStore()
    make_method(toy).train(toy.job(histories, store, report=lambda *report: reports.append(report)))
    assert [(done, total) for done, total, _ in reports] == [(done, 12) for done in range(1, 13)]
    assert set(reports[0][2]) == {"loss", "learning_rate"}
    assert reports[-1][2]["loss"] < reports[0][2]["loss"]
    assert store.saves == 3  # after 5, 10 and 12


def test_the_best_validation_is_kept(toy, histories) -> None:
    seen = []

    def validate(agent):
        seen.append(agent.model.head.bias.detach().numpy().copy())
        return {"last_episodes": [-5.0, -2.0, -3.0, -2.0][len(seen) - 1], "first_episode": 0.0}

    method = make_method(toy, validation_every=3, select_best=True)
    checkpoint = method.train(toy.job(histories, validate=validate))
    assert [entry["update"] for entry in checkpoint.state["validations"]] == [3, 6, 9, 12]
    assert checkpoint.state["best_update"] == 6  # the earlier of equals
    assert np.array_equal(checkpoint.tensors["model.head.bias"], seen[1])
    seen.clear()
    last = make_method(toy, validation_every=3).train(toy.job(histories, validate=validate))
    assert np.array_equal(last.tensors["model.head.bias"], seen[-1])


def test_the_best_parameters_survive_an_interruption(toy, histories) -> None:
    def validate(agent):
        return {"last_episodes": -float(updates_done[-1])}  # the first validation is the best

    updates_done = [0]

    def report(done: int, total: int, metrics) -> None:
        updates_done.append(done)
        if done == 7 and first_run:
            raise Killed

    method = make_method(toy, validation_every=3, select_best=True)
    first_run = False
    straight = method.train(toy.job(histories, validate=validate, report=report))
    assert straight.state["best_update"] == 3
    first_run, store = True, toy.MemoryStore()
    updates_done[:] = [0]
    with pytest.raises(Killed):
        method.train(toy.job(histories, store, validate=validate, report=report))
    first_run = False
    updates_done.append(5)  # training goes on after the last progress saved
    assert_same(straight, method.train(toy.job(histories, store, validate=validate, report=report)))


def test_validating_changes_nothing_in_the_training(toy, histories) -> None:
    def validate(agent):
        return {"last_episodes": float(toy.adapt(agent, [0.5, -0.5], 3)[:, -1].mean())}

    plain = make_method(toy).train(toy.job(histories))
    validated = make_method(toy, validation_every=2).train(toy.job(histories, validate=validate))
    assert np.array_equal(plain.tensors["model.head.weight"], validated.tensors["model.head.weight"])


def test_a_selection_metric_that_validation_lacks_is_named(toy, histories) -> None:
    method = make_method(toy, validation_every=2, select_best=True, selection_metric="typo")
    with pytest.raises(PluginError, match="typo") as error:
        method.train(toy.job(histories, validate=lambda agent: {"last_episodes": 0.0}))
    assert "last_episodes" in error.value.hint


def test_a_diverging_loss_names_the_update(toy, histories) -> None:
    bad = replace(histories[0], actions=histories[0].actions.copy())
    bad.actions[:, :, :] = np.nan
    with pytest.raises(NumericalError, match="at update 1 of 12"):
        make_method(toy).train(toy.job([bad, *histories[1:]]))


def test_bad_histories_are_refused_with_the_task(toy, histories) -> None:
    with pytest.raises(BenchError, match="no training history"):
        make_method(toy).train(toy.job([]))
    endless = replace(histories[1], truncated=np.zeros_like(histories[1].truncated))
    with pytest.raises(BenchError, match="train-001 has no complete episode"):
        make_method(toy).train(toy.job([histories[0], endless]))
    with pytest.raises(UsageError, match="policy means"):
        make_method(toy, targets="policy_means").train(toy.job(histories))


def test_a_backbone_is_required() -> None:
    with pytest.raises(UsageError, match="backbone"):
        AlgorithmDistillation(AlgorithmDistillation.Config())


def test_a_damaged_checkpoint_is_named(toy, histories) -> None:
    method = make_method(toy, updates=1)
    checkpoint = method.train(toy.job(histories))
    tensors = {name: t for name, t in checkpoint.tensors.items() if name != "model.norm.weight"}
    with pytest.raises(DamagedArtefactError, match=r"'model\.norm\.weight'"):
        method.agent(Checkpoint(tensors, checkpoint.state), toy.spec, "cpu")


def test_bfloat16_trains_float32_parameters(toy, histories) -> None:
    checkpoint = make_method(toy, precision="bfloat16").train(toy.job(histories))
    exact = make_method(toy).train(toy.job(histories))
    assert checkpoint.tensors["model.head.weight"].dtype == np.float32
    assert not np.array_equal(checkpoint.tensors["model.head.weight"], exact.tensors["model.head.weight"])
    np.testing.assert_allclose(
        checkpoint.tensors["model.head.weight"], exact.tensors["model.head.weight"], rtol=0, atol=5e-3
    )


def test_a_gaussian_head_needs_actions_that_spread() -> None:
    with pytest.raises(ValueError, match="policy_means have no spread"):
        AlgorithmDistillation.Config(head="gaussian", targets="policy_means")
