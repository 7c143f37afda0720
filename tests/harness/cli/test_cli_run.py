"""`icrl-bench run` as a script sees it: one JSON object, exit codes, errors in words, and nothing made twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icrl_bench.artefacts.store import Store
from icrl_bench.cli import main as main_module
from icrl_bench.cli import options
from icrl_registry.errors import UsageError

TIMEOUT = 300
Run = Callable[..., Any]

REQUIRED = {
    "run_id", "method", "env", "protocol", "seed", "parameters", "returns", "random", "oracle", "normalised_score",
    "first_episode", "last_episodes", "train_env_steps", "adapt_env_steps", "seconds", "checkpoint", "dataset",
}  # fmt: skip


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def without_times(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [{name: run[name] for name in run if name not in ("seconds", "created_at")} for run in document["runs"]]


def test_one_json_object_with_everything_promised(run: Run, tmp_path: Path):
    output = run("--json", "--seeds", "0,3")
    assert output.code == 0
    assert output.out.count("\n") == 1
    assert output.err == ""
    assert set(output.document) == {"runs"}
    first, second = output.document["runs"]
    assert set(first) >= REQUIRED
    assert (first["seed"], second["seed"]) == (0, 3)
    assert first["run_id"] != second["run_id"]
    assert first["dataset"] == second["dataset"]
    assert first["returns"] != second["returns"]
    assert (first["method"], first["env"]) == ("toy-method", "toy-point-v1")
    assert np.shape(first["returns"]) == (2, 3)
    assert len(first["random"]) == len(first["oracle"]) == 2
    assert first["parameters"] == 2
    assert first["train_env_steps"] == 3 * 80
    assert first["adapt_env_steps"] == 2 * 3 * 10
    assert {"collect", "train", "adapt"} <= set(first["seconds"])
    assert first["first_episode"] == pytest.approx(np.mean(first["returns"], axis=0)[0])
    assert first["last_episodes"] == pytest.approx(np.mean(first["returns"], axis=0)[-1])
    store = Store(tmp_path / "home")
    assert store.names("checkpoints") == sorted([first["checkpoint"], second["checkpoint"]])
    assert store.names("adaptations") == sorted([first["run_id"], second["run_id"]])
    assert len(store.names(f"datasets/{first['dataset']}")) == 3 + 2  # nobody needs those of the validation tasks


def test_again_makes_nothing_and_says_the_same(run: Run, tmp_path: Path):
    first = run("--json").document
    made = {name: content for name, content in files_below(tmp_path / "home").items() if "sqlite" not in name}
    second = run("--json").document
    assert without_times(second) == without_times(first)
    after = {name: content for name, content in files_below(tmp_path / "home").items() if "sqlite" not in name}
    assert after == made
    text = run().err
    for line in (
        "all 5 histories are there",
        "floors: they are there",
        "the checkpoint is there",
        "the returns are there",
    ):
        assert line in text
    assert " in 0.0 s" not in text


def test_the_same_seed_in_another_home_gives_the_same_bytes(run: Run, tmp_path: Path):
    first, second = run("--json", "--home", tmp_path / "a").document, run("--json", "--home", tmp_path / "b").document
    assert without_times(first) == without_times(second)
    for name, content in files_below(tmp_path / "a").items():
        if name.endswith((".safetensors", "dataset.json", "floors.json")):
            assert (tmp_path / "b" / name).read_bytes() == content, name


def test_online_steps_are_metered(run: Run):
    document = run("--json", "--set", "method.updates=9", method="toy-online").document
    assert document["runs"][0]["train_env_steps"] == 9 + 5  # two rows, the second in every other update


def test_text_ends_with_a_table(run: Run):
    output = run()
    assert output.code == 0
    assert "toy-method on toy-point-v1, protocol toy-v1" in output.err
    assert "toy-method" in output.out
    for floor in ("random", "zero action", "oracle"):
        assert floor in output.out


def test_a_dry_run_writes_nothing(run: Run, tmp_path: Path):
    output = run("--dry-run", "--json", "--seeds", "0,1")
    plan = output.document["plan"]
    assert plan["tasks"] == {"train": 3, "validation": 2, "test": 2}
    assert plan["histories_done"] == 0
    assert [entry["trained"] for entry in plan["runs"]] == [False, False]
    text = run("--dry-run")
    assert "method.updates = 12" in text.out
    assert text.code == 0
    assert not (tmp_path / "home").exists()


def test_a_dry_run_says_what_is_there(run: Run):
    run("--json")
    plan = run("--dry-run", "--json", "--seeds", "0,1").document["plan"]
    assert plan["histories_done"] == 5
    assert plan["floors_done"] is True
    assert [(entry["trained"], entry["adapted"]) for entry in plan["runs"]] == [(True, True), (False, False)]
    assert "seed 0   train: done, adapt: done" in run("--dry-run").out


def test_settings_are_layered(run: Run, tmp_path: Path):
    file = tmp_path / "settings.toml"
    file.write_text("[method]\nupdates = 4\nstep_size = 0.2\n[adapt]\nepisodes = 2\n")
    plan = run("--dry-run", "--json", "--config", file, "--set", "method.updates=3").document["plan"]
    assert plan["config"]["method"]["updates"] == 3
    assert plan["config"]["method"]["step_size"] == 0.2
    assert plan["config"]["adapt"] == {"episodes": 2, "validation_episodes": 2, "rewards": "true"}
    row = run("--json", "--config", file, "--set", "method.updates=3").document["runs"][0]
    assert row["variant"] == {"method.step_size": 0.2, "method.updates": 3}
    assert np.shape(row["returns"]) == (2, 2)


USAGE_ERRORS = [
    (["--set", "method.update=3"], "method.update", "method.updates"),
    (["--set", "metod.updates=3"], "metod", "method"),
    (["--set", "updates=3"], "updates=3", "SECTION.KEY=VALUE"),
    (["--set", "method.updates=many"], "method.updates", "--set method.updates=VALUE"),
    (["--set", "method.updates=0"], "method.updates", "updates of training"),
    (["--set", "source.name=toy-sorce"], "toy-sorce", "toy-source"),
    (["--config", "/nowhere.toml"], "/nowhere.toml", "existing"),
    (["--seeds", ""], "''", "--seeds 0,1,2"),
    (["--seeds", "0,0"], "'0,0'", "distinct"),
    (["--seeds", "-1"], "-1", "integers from 0"),
    (["--seeds", "a"], "'a'", "--seeds 0,1,2"),
    (["--seeds", "4-0"], "'4-0'", "--seeds 0-4"),
    (["--seeds", "0-2,1"], "'0-2,1'", "distinct"),
    (["--seeds", "0-99999999"], "'0-99999999'", "--seeds 0-4"),
    (["--seeds", "99999999999"], "99999999999", "2147483647"),
    (["--track", "sideways"], "sideways", "offline"),
    (["--track", "offline"], "offline", "online"),
    (["--device", "gpu"], "gpu", "cuda:N"),
    (["--device", "cuda:99"], "cuda:99", "--device cpu"),
    (["--jobs", "0"], "--jobs", "--help"),
    (["--home", "s3://bucket/home"], "s3:/bucket/home is a URL", "a folder"),
    (["--nonsense"], "--nonsense", "--help"),
]


@pytest.mark.parametrize(("arguments", "named", "hint"), USAGE_ERRORS, ids=[" ".join(e[0]) for e in USAGE_ERRORS])
def test_usage_errors_name_the_culprit_and_what_to_type(run: Run, arguments: list[str], named: str, hint: str):
    output = run("--json", *arguments)
    assert output.code == 2
    assert output.out.count("\n") == 1
    assert named in output.error["message"]
    assert hint in output.error["hint"]
    text = run(*arguments)
    assert text.code == 2
    assert text.out == ""
    assert text.err.splitlines()[-2].startswith("error: ")
    assert text.err.splitlines()[-1].startswith("hint: ")


@pytest.mark.parametrize(
    ("arguments", "named", "near"),
    [
        (["-m", "ad-mmba", "-e", "reacher-goal"], "ad-mmba", "ad-mamba"),
        (["-m", "toy-metod", "-e", "toy-point"], "toy-metod", "toy-method"),
        (["-m", "toy-method", "-e", "reacher-gaol"], "reacher-gaol", "reacher-goal"),
        (["-m", "toy-method", "-e", "toy-point", "-p", "smok"], "smok", "smoke"),
        (["-m", "toy-method", "-e", "toy-point", "-p", "smoke-v9"], "smoke-v9", "smoke-v1"),
        (["-m", "toy-method", "-e", "toy-point", "-p", "nowhere.toml"], "nowhere.toml", "smoke-v1"),
    ],
)
def test_unknown_names_come_with_the_nearest(toy: Path, cli: Run, arguments: list[str], named: str, near: str):
    output = cli("run", "--json", *arguments)
    assert output.code == 2
    assert named in output.error["message"]
    assert near in output.error["hint"]


def test_missing_options_are_usage(cli: Run):
    output = cli("run", "--json")
    assert output.code == 2
    assert output.error["kind"] == "usage"
    assert "--method" in output.error["message"]


FAILURES = [
    ("source.fault=not_finite", "task train-001, stream 0, episode 2, step 3: rewards not finite", 1),
    ("source.fault=wide", "task train-001, stream 0, episode 0, step", 4),
    ("source.fault=shape", "task train-001: observations has shape (1, 80, 2), rewards (80,)", 4),
    ("source.fault=order", "yielded train-007 for train-001", 4),
    ("source.fault=few", "yielded nothing for train-001", 4),
    ("source.fault=bench", "the source gave up", 1),
    ("method.fault=nan_weight", "tensor model.weights of the checkpoint is not finite", 1),
    ("method.fault=nan_action", "action is not finite: task test-001, episode 0, step 4", 1),
    ("method.fault=shape", "actions of shape (2, 1), expected (2, 2)", 4),
    ("method.fault=ragged", "no array of numbers", 4),
    ("method.fault=raise", "ZeroDivisionError: the method stumbled", 3),
    ("method.fault=eof", "EOFError: nothing more to read", 3),
    ("method.fault=exit", "sys.exit(0)", 3),
]


@pytest.mark.parametrize(("setting", "message", "code"), FAILURES, ids=[failure[0] for failure in FAILURES])
def test_failures_say_where_and_exit_with_their_code(run: Run, setting: str, message: str, code: int):
    output = run("--json", "--set", setting)
    assert message in output.error["message"]
    assert output.code == code


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("reward", "reward is not finite: task test-000, episode 0, step 2"),
        ("observation", "observation is not finite: task test-001, episode 0, step 2"),
        ("reset", "reset observation is not finite: task test-000, episode 0, step 0"),
    ],
)
def test_an_environment_that_breaks_fails_the_run_with_its_place(run: Run, fault: str, message: str):
    output = run("--json", "--set", f"environment.fault={fault}", env="toy-faulty")
    assert output.code == 1
    assert output.error["kind"] == "not_finite"
    assert message in output.error["message"]


def test_an_internal_error_has_a_traceback_without_json(run: Run):
    output = run("--set", "method.fault=raise")
    assert output.code == 3
    assert 'raise ZeroDivisionError("the method stumbled")' in output.err
    assert "error: ZeroDivisionError: the method stumbled" in output.err


def test_what_plugins_print_does_not_mix_with_the_output(run: Run):
    output = run("--json", "--set", "method.fault=print", "--set", "source.fault=print")
    assert "noise" not in output.out
    assert "noise on standard output" in output.err


def test_an_interrupt_is_130_and_says_that_it_continues(run: Run, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("icrl_bench.stages.floors.Floors.make", interrupt)
    output = run("--json")
    assert output.code == 130
    assert output.error["kind"] == "interrupted"
    assert "continues" in output.error["hint"]


def test_a_protocol_cannot_pose_as_another(cli: Run, toy: Path):
    impostor = toy / "impostor.toml"
    impostor.write_text((toy / "toy.toml").read_text().replace("toy-v1", "smoke-v1"))
    output = cli("run", "--json", "-m", "toy-method", "-e", "toy-point", "-p", impostor)
    assert output.code == 2
    assert "smoke-v1" in output.error["message"]


def test_a_home_that_cannot_be_written_is_said(run: Run, tmp_path: Path):
    (tmp_path / "file").write_text("x")
    output = run("--json", "--home", tmp_path / "file" / "below")
    assert output.code != 3
    assert str(tmp_path / "file") in output.error["message"]


def test_the_leaderboard_has_every_row(run: Run, cli: Run):
    rows = run("--json", "--seeds", "0,1").document["runs"]
    shown = cli("leaderboard", "show", "--json").document
    assert all(row["run_id"] in json.dumps(shown) for row in rows)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3", [3]), ("0,1,2", [0, 1, 2]), ("0-4", [0, 1, 2, 3, 4]), (" 5 - 6, 1,", [5, 6, 1]), ("7-7", [7])],
)
def test_seeds(text: str, expected: list[int]):
    assert options.parse_seeds(text) == expected


@pytest.mark.parametrize("name", ["lab?a", "job%2Fmain", "a b", "50%", "x#y", "ünï&c=d"])
def test_a_home_is_a_path_and_never_a_url(run: Run, cli: Run, tmp_path: Path, name: str):
    """Its leaderboard lies in it, and nothing beside it."""
    home = tmp_path / "homes" / name
    assert run("--json", "--home", home).code == 0
    assert [path.name for path in (tmp_path / "homes").iterdir()] == [name]
    assert (home / "leaderboard.sqlite").is_file()
    assert cli("leaderboard", "show", "--json", "--home", home).document["rows"]


def test_devices(monkeypatch: pytest.MonkeyPatch):
    import torch

    assert options.choose_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert options.choose_device("auto") == "cuda:0"
    assert options.choose_device("cuda") == "cuda:0"
    assert options.choose_device("cuda:1") == "cuda:1"
    for name in ("cuda:2", "cuda:x", "cudaa", "cuda:-1"):
        with pytest.raises(UsageError):
            options.choose_device(name)


def test_main_is_what_the_console_script_calls():
    from importlib.metadata import entry_points

    (script,) = [point for point in entry_points(group="console_scripts") if point.name == "icrl-bench"]
    assert script.load() is main_module.main


def test_quiet_and_verbose(cli: Run, run: Run, toy: Path):
    given = ("run", "-m", "toy-method", "-e", "toy-point", "-p", toy / "toy.toml", "--device", "cpu")
    output = cli("-q", *given)
    assert (output.code, output.err.strip().splitlines()) == (0, [output.err.strip()])  # the hint at the report
    assert "toy-method" in output.out
    loud = cli("-v", *given, "--set", "method.nonsense=1")
    assert loud.code == 2
    assert "Traceback" in loud.err
    assert "error: " in loud.err
    assert "Traceback" not in cli(*given, "--set", "method.nonsense=1").err
