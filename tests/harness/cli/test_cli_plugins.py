"""`icrl-bench plugins`: what is listed, shown and checked, and what a broken plugin does to it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from icrl_bench.cli.main import main
from icrl_registry import discovery

GOOD = """
from icrl_registry.testing.toy import ToyPoint

class Good(ToyPoint):
    "A point in the plane."

class Mislabelled(ToyPoint):
    "A point whose id is not its name."
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


BUILT_IN = [entry for entry in discovery.list_plugins() if entry.distribution == "icrl-bench"]


@pytest.mark.slow  # the first use of a backbone compiles its kernels
@pytest.mark.parametrize("entry", BUILT_IN, ids=lambda entry: entry.name)
def test_every_built_in_plugin_keeps_its_contract(run, entry: discovery.PluginEntry):
    checked = run("plugins", "check", entry.name, "--kind", entry.kind)
    assert checked.code == 0, checked.out + checked.err
