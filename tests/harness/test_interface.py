"""The Python interface does what the commands do, on the same artefacts, and says what is missing."""

from __future__ import annotations

import inspect
import subprocess
import sys

import gymnasium
import numpy as np
import pytest

import icrl_bench
from icrl_registry.errors import UsageError

SMALL = {"method.updates": 6}


@pytest.fixture
def toy_run(toy, inline, tmp_path):
    protocol, home = str(toy / "toy.toml"), tmp_path / "home"
    records = icrl_bench.run("toy-method", "toy-point", protocol=protocol, settings=SMALL, home=home, quiet=True)
    return protocol, home, records


def test_a_run_is_the_commands_run(toy_run, cli, toy):
    protocol, home, (record,) = toy_run
    same = cli("run", "-m", "toy-method", "-e", "toy-point", "-p", protocol, "--set", "method.updates=6", "--json")
    assert [row["run_id"] for row in same.document["runs"]] == [record.run_id]
    assert same.document["runs"][0]["returns"] == record.returns
    assert home == toy.parent / "home"


def test_the_plan_runs_nothing(toy, tmp_path):
    plan = icrl_bench.plan("toy-method", "toy-point", protocol=str(toy / "toy.toml"), settings=SMALL)
    assert plan.config["method"]["updates"] == 6
    assert len(plan.tasks["train"]) == 3
    assert callable(icrl_bench.plan)  # also after the module that makes plans was imported


def test_histories_as_arrays(toy_run):
    protocol, home, _ = toy_run
    histories = icrl_bench.load_histories("toy-point", protocol=protocol, home=home)
    assert [history.rewards.shape for history in histories] == [(1, 80)] * 3
    assert [history.task.label for history in histories] == ["train-000", "train-001", "train-002"]


def test_an_agent_in_anybodys_loop(toy_run):
    """In a loop of its own it does, step for step, what the harness's loop recorded."""
    protocol, home, (record,) = toy_run
    from icrl_bench.seeding import reset_seed

    plan = icrl_bench.plan("toy-method", "toy-point", protocol=protocol, settings=SMALL)
    tasks = plan.tasks["test"]
    agent = icrl_bench.load_agent(
        "toy-method", "toy-point", protocol=protocol, settings=SMALL, home=home, num_tasks=len(tasks)
    )
    environments = [plan.make_environment().make(task) for task in tasks]
    for episode in range(2):
        observations = np.stack(
            [
                environment.reset(seed=reset_seed(0, task, episode))[0]
                for environment, task in zip(environments, tasks, strict=True)
            ]
        )
        returns = np.zeros(len(tasks))
        for _ in range(10):
            actions = agent.act(observations)
            steps = [environment.step(action) for environment, action in zip(environments, actions, strict=True)]
            following, rewards, terminated, truncated, _ = (np.stack(each) for each in zip(*steps, strict=True))
            returns += rewards.astype(np.float32)
            agent.observe(observations, actions, rewards, following, terminated, truncated)
            observations = following
        assert returns == pytest.approx([task[episode] for task in record.returns], rel=1e-6)


def test_one_task_has_no_leading_axis(toy_run):
    protocol, home, _ = toy_run
    agent = icrl_bench.load_agent("toy-method", "toy-point", protocol=protocol, settings=SMALL, home=home)
    action = agent.act(np.zeros(2))
    assert action.shape == (2,)
    agent.observe(np.zeros(2), action, 1.0, np.ones(2), False, True)


def test_the_board_as_a_frame(toy_run):
    _, home, (record,) = toy_run
    frame = icrl_bench.leaderboard(home=home).frame()
    assert len(frame) == 2 * 3
    assert frame["return"].to_numpy().reshape(2, 3).tolist() == record.returns
    assert set(frame["method"]) == {"toy-method"}


def test_the_board_as_a_frame_of_polars(toy_run):
    polars = pytest.importorskip("polars")
    _, home, (record,) = toy_run
    board = icrl_bench.leaderboard(home=home)
    frame = board.frame("polars", method="toy-method")
    assert isinstance(frame, polars.DataFrame)
    assert frame["return"].to_numpy().reshape(2, 3).tolist() == record.returns
    assert frame.columns == list(board.frame().columns)
    with pytest.raises(UsageError, match="arrow"):
        board.frame("arrow")


def test_one_row_a_run(toy_run):
    _, home, (record,) = toy_run
    rows = icrl_bench.leaderboard(home=home).runs()
    assert rows["run_id"].tolist() == [record.run_id]
    assert rows["seed"].tolist() == [0]
    expected = icrl_bench.leaderboard(home=home).scores()[0]
    assert rows["adapt_env_steps"].tolist() == [record.adapt_env_steps]
    assert expected.returns.shape == (2, 3)


def test_a_grid(toy, inline, tmp_path):
    made = icrl_bench.grid(
        protocol=str(toy / "toy-certified.toml"), methods=["toy-method"], seeds=[0], home=tmp_path / "home", quiet=True
    )
    assert [(row.label, row.error) for row in made.rows] == [("toy-method on toy-measured-v1, seed 0", None)]
    assert not made.failed


def test_what_is_missing_says_what_to_type(toy, tmp_path):
    place = {"protocol": str(toy / "toy.toml"), "home": tmp_path / "empty"}
    with pytest.raises(UsageError) as caught:
        icrl_bench.load_agent("toy-method", "toy-point", **place)
    assert "icrl-bench run --method toy-method --env toy-point" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        icrl_bench.load_histories("toy-point", **place)
    assert "icrl-bench run" in caught.value.hint


def test_a_plugin_is_checked():
    assert all(result.passed for result in icrl_bench.check("environment", "reacher-goal"))


def test_importing_it_imports_nothing_heavy_and_registers_environments():
    program = "import sys, icrl_bench; sys.exit('torch' in sys.modules or 'mujoco' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
    assert "icrl_bench/ReacherGoal-v1" in gymnasium.registry


def test_every_public_name_is_documented_with_an_example():
    for name in icrl_bench.__all__:
        offered = getattr(icrl_bench, name)
        members = [each for key, each in vars(offered).items() if key[0] != "_" and callable(each)]
        for each in [offered, *(members if name[0].isupper() else [])]:
            assert ">>>" in (each.__doc__ or ""), each


def test_every_public_name_says_the_types_of_what_it_takes():
    for name in icrl_bench.__all__:
        offered = getattr(icrl_bench, name)
        functions = [offered] if name[0].islower() else [each for key, each in vars(offered).items() if key[0] != "_"]
        for function in functions:
            for parameter in inspect.signature(function).parameters.values():
                assert parameter.name == "self" or parameter.annotation is not inspect.Parameter.empty, function
