"""`icrl-bench leaderboard verify` says of each run whether it is what it claims to be, and makes it again on request."""

from __future__ import annotations

import json
import shutil

import pytest

from icrl_bench.runs import verification
from icrl_bench.runs.verification import Verifier
from icrl_bench.stages.record import stage_versions
from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_leaderboards.exchange.document import to_bytes
from icrl_leaderboards.runs.record import RunRecord


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def published(run, cli, tmp_path, home):
    """The file of one toy run, in whose home the artefacts are."""

    def publish(*arguments):
        assert run(*arguments).code == 0
        document = cli("leaderboard", "submit", "--method", "toy-method", "--out", tmp_path / "out", "--json").document
        return tmp_path / "out" / document["paths"][-1]

    return publish


@pytest.fixture
def verify(cli, toy):
    """Verifies under the toy protocol; returns the exit code and each check's status by name."""

    def call(*names, options=()):
        output = cli("leaderboard", "verify", *names, "--protocol", toy / "toy.toml", "--json", *options)
        checks = {check["name"]: check for each in output.document["runs"] for check in each["checks"]}
        return output.code, {name: check["status"] for name, check in checks.items()}, checks, output.document

    return call


def rewrite(path, **changes):
    """Another run in the file, with aggregates and checksums that fit it: what a careful forger would publish."""
    record = json.loads(path.read_text())["run"] | changes
    path.write_bytes(to_bytes(RunRecord.from_json(record)))
    return path


ALL_OK = dict.fromkeys(("aggregates", "checksums", "form", "splits", "episodes", "settings", "run id"), "ok")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--set", "method.step_size=0.5"),
        ("--set", "adapt.episodes=2"),
        ("--set", "adapt.rewards=zero", "--set", "environment.horizon=3"),
    ],
    ids=str,
)
def test_an_honest_file(published, verify, arguments):
    code, statuses, checks, document = verify(published(*arguments))
    assert statuses == ALL_OK, checks
    assert code == 0
    assert document["mismatch"] == 0


def test_one_changed_digit_in_one_episode(published, verify):
    path = published()
    text = path.read_text()
    place = text.index('"returns"') + text[text.index('"returns"') :].index(".") + 1
    path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
    code, statuses, _, _ = verify(path)
    assert code == 5
    assert [statuses[name] for name in ("aggregates", "checksums", "form")] == ["mismatch"] * 3


def test_a_forged_file_is_found_by_what_it_claims(published, verify):
    path = published()
    record = json.loads(path.read_text())["run"]
    config = record["config"]
    forgeries = [
        ("splits", {"task_parameters": [[value + 0.01 for value in row] for row in record["task_parameters"]]}),
        ("splits", {"task_labels": record["task_labels"][::-1]}),
        ("episodes", {"adapt_env_steps": record["adapt_env_steps"] + 1}),
        ("episodes", {"episode_lengths": [[99 for _ in row] for row in record["episode_lengths"]]}),
        ("episodes", {"config": {**config, "adapt": {**config["adapt"], "episodes": 99}}}),
        ("settings", {"config": {**config, "method": {**config["method"], "updates": 99}}}),
        (
            "run id",
            {"variant": {"method.updates": 99}, "config": {**config, "method": {**config["method"], "updates": 99}}},
        ),
        ("run id", {"seed": 7}),
        ("run id", {"protocol": "toy-v1+000000"}),
    ]
    for check, changes in forgeries:
        original = path.read_bytes()
        code, statuses, checks, _ = verify(rewrite(path, **changes))
        assert code == 5, check
        assert statuses[check] == "mismatch", checks
        assert checks[check]["detail"]
        path.write_bytes(original)


def test_missing_plugins_leave_checks_out(published, verify):
    path = published()
    plugins = json.loads(path.read_text())["run"]["plugins"]
    code, statuses, checks, _ = verify(rewrite(path, plugins=[{**plugins[0], "name": "gone-v1"}]))
    assert code == 0
    assert statuses["plan"] == "skipped"
    assert "gone-v1" in checks["plan"]["detail"]


def test_a_stage_beside_the_run_leaves_its_id_in(published, verify):
    """Made before a stage that its id isn't made from: the id is the plan's all the same."""
    path = published()
    provenance = json.loads(path.read_text())["run"]["provenance"]
    fewer = {**provenance, "stage_versions": {"train": 1, "adapt": 1}}
    code, statuses, _, _ = verify(rewrite(path, provenance=fewer))
    assert (code, statuses["run id"]) == (0, "ok")
    code, statuses, checks, _ = verify(rewrite(path, provenance=fewer, run_id="0" * 16))
    assert (code, statuses["run id"]) == (0, "skipped")
    assert "the stages have changed since" in checks["run id"]["detail"]


def test_a_stage_that_looks_on_lets_no_forged_id_pass(published, verify, monkeypatch):
    """One that came after the row was made, and from whose address no id is made: what the id must be is known."""
    path = rewrite(published(), run_id="0" * 16)
    assert verify(path)[1]["run id"] == "mismatch"
    monkeypatch.setattr(verification, "stage_versions", lambda record: {**stage_versions(record), "picture": 1})
    code, statuses, _, _ = verify(path)
    assert (code, statuses["run id"]) == (5, "mismatch")


def test_other_code_leaves_the_run_id_out(published, verify):
    path = published()
    plugins = json.loads(path.read_text())["run"]["plugins"]
    code, statuses, checks, _ = verify(rewrite(path, plugins=[{**use, "content_hash": "0" * 64} for use in plugins]))
    assert (code, statuses["run id"], statuses["splits"]) == (0, "skipped", "ok")
    assert "other code here of" in checks["run id"]["detail"]


def test_a_recorded_run_and_its_artefact(run, verify, home):
    run_id = run("--json").document["runs"][0]["run_id"]
    code, statuses, _, _ = verify(run_id[:8])
    assert (code, statuses["artefact"]) == (0, "ok")
    with Leaderboard(home / "leaderboard.sqlite") as board:
        (record,) = board.runs()
        changed = record.as_json()
        changed["returns"][0][0] += 1e-9
        board.record(RunRecord.from_json(changed))
    code, statuses, _, _ = verify(run_id)
    assert (code, statuses["artefact"]) == (5, "mismatch")
    shutil.rmtree(home / "adaptations")
    code, statuses, _, _ = verify(run_id)
    assert (code, statuses["artefact"]) == (0, "skipped")


@pytest.mark.parametrize("removed", [(), ("adaptations",), ("adaptations", "checkpoints"), None], ids=str)
def test_a_rerun_gives_equal_returns(published, verify, home, removed):
    path = published()
    for name in ("adaptations", "checkpoints", "datasets", "floors") if removed is None else removed:
        shutil.rmtree(home / name)
    code, statuses, checks, document = verify(path, options=["--rerun"])
    assert (code, statuses["rerun"], statuses["floors"]) == (0, "ok", "ok")
    assert ("the whole run" in checks["rerun"]["detail"]) == (removed is None or "checkpoints" in removed)
    found = document["runs"][0]["rerun"]
    assert found["equal"] == sum(map(len, found["verdicts"]))
    assert {verdict for row in found["verdicts"] for verdict in row} == {"equal"}


def test_a_rerun_finds_invented_returns(published, verify):
    path = published()
    record = json.loads(path.read_text())["run"]
    record["returns"][1][2] += 1000.0
    rewrite(path, returns=record["returns"])
    code, statuses, checks, document = verify(path, options=["--rerun"])
    assert code == 5
    assert statuses["checksums"] == "ok"  # the forger computed them anew
    assert statuses["rerun"] == "mismatch"
    assert "1 outside" in checks["rerun"]["detail"]
    assert document["runs"][0]["rerun"]["verdicts"][1][2] == "outside"


def test_a_rerun_finds_invented_floors(published, verify):
    path = published()
    record = json.loads(path.read_text())["run"]
    code, statuses, _, _ = verify(rewrite(path, random=[value - 5 for value in record["random"]]), options=["--rerun"])
    assert (code, statuses["floors"], statuses["rerun"]) == (5, "mismatch", "ok")


def test_what_cannot_be_run_again_is_no_proof(published, verify):
    path = published()
    plugins = json.loads(path.read_text())["run"]["plugins"]
    rewrite(path, plugins=[{**plugins[0], "name": "gone-v1"}])
    code, statuses, _, _ = verify(path, options=["--rerun"])
    assert (code, statuses["rerun"]) == (5, "mismatch")


def test_words(published, cli, toy):
    path = published()
    output = cli("leaderboard", "verify", path, "--protocol", toy / "toy.toml")
    assert output.code == 0
    assert "  ok        splits      the 2 test tasks of toy-v1" in output.out
    assert "1 as they claim" in output.out
    path.write_text("{}")
    output = cli("leaderboard", "verify", path)
    assert output.code == 5
    assert "mismatch  file" in output.out
    assert cli("leaderboard", "verify", "nosuchrun").code == 2
    assert cli("leaderboard", "verify", "no/such/file.json").code == 5


def test_runs_that_differ_in_their_seed_share_a_plan(published, run, home):
    run("--seeds", "0,1")
    with Leaderboard(home / "leaderboard.sqlite") as board:
        first, second = board.runs()
    verifier = Verifier()
    assert verifier.plan(first) is verifier.plan(second)
