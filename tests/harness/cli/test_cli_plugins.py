"""`icrl-bench plugins`: what is listed, shown and checked, and what a broken plugin does to it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icrl_bench.artefacts import imports
from icrl_bench.cli.main import main
from icrl_registry import discovery
from icrl_registry.testing.toy import ToyPoint, toy_history

GOOD = """
from icrl_registry.testing.toy import ToyPoint

class Good(ToyPoint):
    "A point in the plane."

class Mislabelled(ToyPoint):
    "A point whose id is not its name."
"""
COPYING = """
import torch
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Checkpoint, Method
from icrl_registry.testing.toy import toy_backbone_class

class Copying(Method):
    "Builds its backbone and trains nothing."
    Config, uses_backbone, adaptation = ComponentConfig, True, "source"

    def __init__(self, config, backbone):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.backbone = backbone(7)

    def train(self, job):
        return Checkpoint({"model.w": self.backbone.mix.weight.detach().numpy()}, {})

    def agent(self, checkpoint, spec, device): ...

"""
HOOKS = """
from icrl_registry.hooks import hookimpl

@hookimpl
def icrl_resultt(record): ...
"""


class Output:
    """What a command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    def call(*arguments: str) -> Output:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        captured = capsys.readouterr()
        return Output(int(caught.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An installed distribution with one good environment, a mislabelled one, and a method that can't be imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    info = tmp_path / "acme-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[icrl_bench.environments]\ntoy-point-v1 = acme_parts:Good\nother-point-v1 = acme_parts:Mislabelled\n"
        "[icrl_bench.methods]\nboom = acme_boom:Boom\n"
    )
    (tmp_path / "acme_parts.py").write_text(GOOD)
    (tmp_path / "acme_boom.py").write_text("raise ImportError('libboom.so is missing')")
    (tmp_path / "acme_hooks.py").write_text(HOOKS)
    discovery._scan.cache_clear()
    yield tmp_path
    discovery._scan.cache_clear()
    for name in ("acme_parts", "acme_boom", "acme_hooks"):
        sys.modules.pop(name, None)


def test_list_shows_every_kind(run):
    document = run("plugins", "list", "--no-load", "--json").document
    assert {row["kind"] for row in document["plugins"]} >= set(discovery.KINDS)
    assert "pusher-goal-v1" in {row["name"] for row in document["plugins"]}
    only = run("plugins", "list", "--no-load", "--kind", "source", "--json").document["plugins"]
    assert {row["kind"] for row in only} == {"source"}


def test_list_without_loading_imports_no_plugin(run, acme: Path):
    shown = run("plugins", "list", "--no-load")
    assert shown.code == 0
    assert "toy-point-v1" in shown.out
    assert "acme_parts" not in sys.modules


def test_list_shows_a_broken_plugin_with_its_error_and_the_others_as_they_are(run, acme: Path):
    shown = run("plugins", "list", "--json")
    assert shown.code == 0
    rows = {row["name"]: row for row in shown.document["plugins"]}
    assert rows["boom"]["status"] == "broken"
    assert "libboom.so is missing" in rows["boom"]["error"]
    assert "pip uninstall acme" in rows["boom"]["hint"]
    assert rows["toy-point-v1"]["status"] == "ok"
    assert len(rows["toy-point-v1"]["content_hash"]) == 64
    text = run("plugins", "list", "--kind", "method").out
    assert "broken" in text
    assert "libboom.so is missing" in text


def test_list_shows_both_owners_of_one_name(run, acme: Path):
    info = acme / "rival-3.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 3.0\n")
    (info / "entry_points.txt").write_text("[icrl_bench.environments]\ntoy-point-v1 = acme_parts:Good\n")
    discovery._scan.cache_clear()
    rows = run("plugins", "list", "--kind", "environment", "--json").document["plugins"]
    clashing = [row for row in rows if row["name"] == "toy-point-v1"]
    assert [row["distribution"] for row in clashing] == ["acme", "rival"]
    assert all("acme 1.2 and rival 3.0" in row["error"] for row in clashing)


def test_list_shows_a_refused_hook_module(run, acme: Path):
    path = acme / "acme-1.2.dist-info" / "entry_points.txt"
    path.write_text(path.read_text() + "[icrl_bench.hooks]\ntracker = acme_hooks\n")
    discovery._scan.cache_clear()
    with pytest.warns(UserWarning, match="acme"):
        document = run("plugins", "list", "--json").document
    row = next(row for row in document["plugins"] if row["kind"] == "hooks")
    assert row["status"] == "broken"
    assert "icrl_result" in row["hint"]


def test_show_lists_every_setting(run):
    document = run("plugins", "show", "mamba", "--json").document
    settings = {row["name"]: row for row in document["settings"]}
    assert document["kind"] == "backbone"
    assert settings["model_size"]["type"] == "int"
    assert all(row["description"] for row in settings.values())
    text = run("plugins", "show", "mamba").out
    assert "backbone.model_size" in text
    assert document["content_hash"] in text


def test_show_of_an_unknown_or_broken_plugin_fails_in_words(run, acme: Path):
    unknown = run("plugins", "show", "mambo", "--json")
    assert unknown.code == 2
    assert "mamba" in unknown.document["error"]["hint"]
    broken = run("plugins", "show", "boom")
    assert broken.code == 4
    assert broken.out == ""
    assert "libboom.so is missing" in broken.err


def test_a_name_of_two_kinds_asks_for_the_kind(run, acme: Path):
    path = acme / "acme-1.2.dist-info" / "entry_points.txt"
    path.write_text(path.read_text() + "[icrl_bench.sources]\ntoy-point-v1 = acme_parts:Good\n")
    discovery._scan.cache_clear()
    asked = run("plugins", "show", "toy-point")
    assert asked.code == 2
    assert "--kind environment" in asked.err
    assert run("plugins", "show", "toy-point", "--kind", "environment").code == 0


def test_check_passes_a_good_plugin_and_fails_a_bad_one_with_code_5(run, acme: Path):
    good = run("plugins", "check", "toy-point", "--json")
    assert good.code == 0
    assert good.document["passed"] is True
    assert {check["name"] for check in good.document["checks"]} >= {"hides_its_task", "obeys_its_seed"}
    bad = run("plugins", "check", "other-point-v1", "--json")
    assert bad.code == 5
    assert "names_itself" in bad.document["error"]["message"]
    text = run("plugins", "check", "other-point-v1")
    assert text.code == 5
    assert "FAILED  names itself" in text.out


def test_check_takes_settings_and_refuses_those_of_another_kind(run, acme: Path):
    assert run("plugins", "check", "toy-point", "--set", "environment.horizon=5").code == 0
    assert run("plugins", "check", "toy-point", "--set", "environment.horizn=5").code == 2
    refused = run("plugins", "check", "toy-point", "--set", "method.horizon=5")
    assert refused.code == 2
    assert "environment.KEY=VALUE" in refused.err


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("while True:\n    pass\n", "not done within 1 s"),
        (
            "import time\nwhile True:\n    try:\n        time.sleep(60)\n    except BaseException:\n        pass\n",
            "not done within 1 s",
        ),
        ("import os\nos._exit(7)\n", "exit code 7"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "signal 11"),
    ],
    ids=["loops", "swallows", "exits", "crashes"],
)
def test_list_survives_whatever_an_import_does(run, acme: Path, monkeypatch: pytest.MonkeyPatch, code: str, words: str):
    """Those behind it are tried all the same."""
    (acme / "acme_boom.py").write_text(code)
    entries = [entry for entry in discovery.list_plugins() if entry.distribution == "acme"]
    entries.sort(key=lambda entry: entry.name)
    assert [entry.name for entry in entries] == ["boom", "other-point-v1", "toy-point-v1"]
    monkeypatch.setattr(discovery, "list_plugins", lambda kind=None: entries)
    document = run("plugins", "list", "--patience", "1", "--json").document
    boom, *others = [row for row in document["plugins"] if row["distribution"] == "acme"]
    assert boom["status"] == "broken"
    assert words in boom["error"]
    assert [row["status"] for row in others] == ["ok", "ok"]


def test_a_failure_that_ends_several_checks_is_said_once(run, acme: Path):
    (acme / "acme_parts.py").write_text(
        GOOD + "\n    def make(self, task, render_mode=None):\n        raise ValueError('no body')\n"
    )
    checked = run("plugins", "check", "other-point-v1")
    assert checked.code == 5
    assert checked.out.count("ValueError: no body") == 1
    assert "for the same reason as: " in checked.out
    assert checked.err.count("ValueError: no body") == 1


def test_a_spec_that_is_set_in_init_is_told_where_it_belongs(run, acme: Path):
    (acme / "acme_parts.py").write_text(
        "from icrl_registry.contracts import Environment, EnvironmentSpec\n"
        "from icrl_registry.testing.toy import ToyPoint, ToyPointConfig\n"
        "class Good(Environment):\n    Config, id, task_parameter_names = ToyPointConfig, 'toy-point-v1', ('x', 'y')\n"
        "    def __init__(self, config):\n        self.spec = EnvironmentSpec('toy-point-v1', 2, 2, 10)\n"
        "    sample_task_parameters, make = ToyPoint.sample_task_parameters, ToyPoint.make\n"
    )
    checked = run("plugins", "check", "toy-point", "--json")
    assert checked.code == 4
    assert "class attribute or a property, not in __init__" in checked.document["error"]["message"]


def test_a_method_is_checked_with_a_backbone_by_their_name(run, acme: Path):
    """A method of one plugin with a backbone of another."""
    (acme / "acme_parts.py").write_text(COPYING + "Mean = toy_backbone_class()\n")
    (acme / "acme-1.2.dist-info" / "entry_points.txt").write_text(
        "[icrl_bench.methods]\ncopying = acme_parts:Copying\n[icrl_bench.backbones]\nrunning-mean = acme_parts:Mean\n"
    )
    discovery._scan.cache_clear()
    checked = run("plugins", "check", "copying-running-mean", "--json")
    assert (checked.code, checked.document.get("name")) == (0, "copying"), checked.out
    sys.modules.pop("acme_parts")
    (acme / "acme_parts.py").write_text(
        COPYING + "class Mean:\n    Config = ComponentConfig\n    forward = initial_state = step = None\n"
    )
    broken = run("plugins", "check", "copying-running-mean", "--json")  # it was tried with this one, not with a toy
    assert broken.code == 5
    assert "Mean() takes no arguments" in broken.document["error"]["message"]
    unknown = run("plugins", "check", "copying-running-men", "--json")
    assert unknown.code == 2


def test_check_takes_an_environment(run, acme: Path):
    (acme / "acme-1.2.dist-info" / "entry_points.txt").write_text(
        "[icrl_bench.environments]\ntoy-point-v1 = acme_parts:Good\n[icrl_bench.methods]\ncopying = acme_parts:Copying\n"
    )
    (acme / "acme_parts.py").write_text(GOOD + COPYING)
    discovery._scan.cache_clear()
    checked = run("plugins", "check", "copying", "--env", "toy-point", "--json")
    assert checked.code == 0, checked.out
    assert run("plugins", "check", "toy-point", "--env", "toy-point").code == 2
    assert run("plugins", "check", "copying", "--env", "toy-pint").code == 2


def test_the_plugin_in_the_readme_passes_the_check_as_it_stands(run, acme: Path):
    page = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    code, metadata = (page.split(f"```{language}\n")[1].split("```")[0] for language in ("python", "toml"))
    (acme / "my_package").mkdir()
    (acme / "my_package" / "best_so_far.py").write_text(code)
    points = metadata.replace('"', "").replace("project.entry-points.", "")
    (acme / "acme-1.2.dist-info" / "entry_points.txt").write_text(points)
    discovery._scan.cache_clear()
    checked = run("plugins", "check", "best-so-far", "--json")
    assert checked.code == 0, checked.out
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        sys.modules.pop(name)


BUILT_IN = [entry for entry in discovery.list_plugins() if entry.distribution == "icrl-bench"]


@pytest.mark.slow  # the first use of a backbone compiles its kernels
@pytest.mark.parametrize("entry", BUILT_IN, ids=lambda entry: entry.name)
def test_every_built_in_plugin_keeps_its_contract(run, entry: discovery.PluginEntry, tmp_path: Path):
    settings = ("--set", f"source.path={toy_data(tmp_path)}") if entry.name.startswith("imported") else ()
    checked = run("plugins", "check", entry.name, "--kind", entry.kind, *settings)
    assert checked.code == 0, checked.out + checked.err


def toy_data(folder: Path) -> Path:
    """What the sources of imported data are checked with: the tasks that every source is checked with, and their experts."""
    toy = ToyPoint()
    histories = [toy_history(toy, task, 3, seed=1) for task in toy.tasks(2)]
    histories = [
        replace(each, expert_actions=toy.best_actions(each.observations, np.asarray(each.task.parameters)))
        for each in histories
    ]
    imports.write_files(histories, toy.id, folder / "data", "safetensors", "toy")
    return folder / "data"


def test_the_source_of_imported_data_keeps_its_contract(run, tmp_path: Path):
    checked = run("plugins", "check", "imported", "--set", f"source.path={toy_data(tmp_path)}", "--json")
    assert checked.code == 0, checked.out
    without = run("plugins", "check", "imported")
    assert without.code == 5
    assert without.err.count("needs data") == 1
