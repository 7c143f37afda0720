"""A grid makes every row once, survives a row that fails, and refuses environments that test nothing."""

from __future__ import annotations

import json

import pytest

from icrl_leaderboards.database.leaderboard import Leaderboard


@pytest.fixture
def grid(toy, inline, cli):
    def call(*arguments):
        return cli("grid", "-p", toy / "toy-certified.toml", "--device", "cpu", *arguments)

    return call


def rows(output):
    return {(row["environment"], row["method"], row["seed"]): row["state"] for row in output.document["rows"]}


def test_all_rows_of_a_protocol_and_nothing_twice(grid, tmp_path):
    first = grid("--json")
    assert first.code == 0, first.err
    assert rows(first) == {
        ("toy-measured-v1", method, seed): "done" for method in ("toy-method", "toy-online") for seed in (0, 1)
    }
    with Leaderboard(tmp_path / "home" / "leaderboard.sqlite") as board:
        recorded = {run.run_id: run for run in board.runs()}
        assert set(recorded) == {row["run_id"] for row in first.document["rows"]}
        (certificate,) = board.certificates().values()
    assert certificate.solved == 1.0
    assert certificate.headroom > 0.35
    assert all(run.blind_ceiling == list(certificate.blind_ceiling) for run in recorded.values())
    assert all(len(run.success) == 4 for run in recorded.values())
    again = grid("--json")
    assert again.document == first.document
    with Leaderboard(tmp_path / "home" / "leaderboard.sqlite") as board:
        assert {run.run_id: run for run in board.runs()} == recorded


def test_controls_are_the_same_agents_on_other_rewards(grid, tmp_path):
    plain = grid("--methods", "toy-method", "--seeds", "0", "--json")
    found = grid("--methods", "toy-method", "--seeds", "0", "--controls", "--json")
    assert found.code == 0, found.err
    row, control = found.document["rows"]
    assert (row["run_id"], control["method"]) == (plain.document["rows"][0]["run_id"], "toy-method, rewards shuffled")
    with Leaderboard(tmp_path / "home" / "leaderboard.sqlite") as board:
        (own,), (shuffled,) = board.runs(run_ids=[row["run_id"]]), board.runs(run_ids=[control["run_id"]])
    assert shuffled.checkpoint == own.checkpoint  # nothing was trained for it
    assert shuffled.config["adapt"]["rewards"] == "shuffled"
    assert shuffled.method == own.method
    assert shuffled.protocol != own.protocol  # it ranks by itself
    assert shuffled.blind_ceiling == own.blind_ceiling is not None


def test_a_row_is_the_one_that_run_makes(grid, cli, toy):
    found = grid("--methods", "toy-method", "--seeds", "1", "--json")
    alone = cli(
        "run", "-m", "toy-method", "-e", "toy-measured", "-p", toy / "toy-certified.toml", "--seeds", "1", "--json"
    )
    assert [row["run_id"] for row in found.document["rows"]] == [run["run_id"] for run in alone.document["runs"]]


def test_a_setting_that_a_method_lacks_is_said_before_anything_runs(grid, tmp_path):
    output = grid("--set", "method.fault=raise", "--methods", "toy-method,task-blind", "--no-certify", "--json")
    assert output.code == 2
    assert not (tmp_path / "home" / "datasets").exists()


def test_a_method_that_fails_is_named_and_the_rest_is_made(grid, toy):
    protocol = toy / "toy-certified.toml"
    protocol.write_text(protocol.read_text() + '\n[method.toy-online]\nfault = "raise"\n')
    output = grid("--json")
    assert output.code == 1
    states = rows(output)
    assert {state for (_, method, _), state in states.items() if method == "toy-method"} == {"done"}
    assert {state for (_, method, _), state in states.items() if method == "toy-online"} == {"failed"}
    errors = [row["error"] for row in output.document["rows"] if row["method"] == "toy-online"]
    assert all("the method stumbled" in error for error in errors)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ("toy-unsolved", "its oracle solves 0% of the test tasks, demanded are 80%"),
        ("toy-blind", "demanded is 0.35: a policy that ignores the task"),
        ("toy-point", "measures no success"),
    ],
)
def test_an_environment_that_tests_nothing_is_refused_with_words(grid, environment, words):
    output = grid("--envs", f"toy-measured,{environment}", "--methods", "toy-method", "--seeds", "0", "--json")
    assert output.code == 1
    states = rows(output)
    assert states.pop(("toy-measured-v1", "toy-method", 0)) == "done"
    assert set(states.values()) == {"failed"}
    (reason,) = output.document["refused"].values()
    assert words in reason


def test_a_refusal_can_be_overruled(grid):
    output = grid("--envs", "toy-blind", "--methods", "toy-method", "--seeds", "0", "--no-certify", "--json")
    assert output.code == 0


def test_the_plan_says_what_is_there(grid):
    before = grid("--dry-run", "--json")
    assert set(rows(before).values()) == {"to do"}
    grid("--methods", "toy-method")
    after = rows(grid("--dry-run", "--json"))
    assert {state for (_, method, _), state in after.items() if method == "toy-method"} == {"done"}


def test_unknown_names_are_refused_before_anything_runs(grid):
    assert grid("--methods", "toy-methot").code == 4 or grid("--methods", "toy-methot").code == 2
    assert "toy-method" in grid("--methods", "toy-methot", "--json").error["hint"]
    assert grid("--methods", "a,a", "--json").error["kind"] == "usage"


def test_the_certificate_by_itself(toy, inline, cli):
    output = cli("tasks", "toy-blind", "-p", toy / "toy-certified.toml", "--certificate", "--json")
    assert output.code == 0, output.err
    summary = output.document["summary"]
    assert not summary["passed"]
    assert summary["headroom"] < 0.1
    assert json.dumps(summary)
    words = cli("tasks", "toy-measured", "-p", toy / "toy-certified.toml", "--certificate")
    assert "4 of 4 test tasks" in words.out
    assert "passes" in words.out
