"""`icrl-bench protocols`: what it says is what `load_protocol` reads, and what is wrong is found."""

from __future__ import annotations

import pytest

from icrl_registry.protocols.loading import list_protocols, load_protocol


def test_all_are_listed(cli):
    output = cli("protocols", "list", "--json")
    assert output.code == 0
    assert {row["id"] for row in output.document["protocols"]} >= set(list_protocols())
    assert "laptop-v2" in cli("protocols", "list").out


def test_show_has_every_key_with_what_is_extended(cli, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('id = "mine-v1"\nsummary = "x"\nextends = "laptop-v1"\n[method.ad]\nupdates = 7\n')
    shown = cli("protocols", "show", path).out.splitlines()
    assert "method.ad.updates = 7" in shown
    assert "environments.reacher-goal-v1.split.seed = 1001" in shown
    document = cli("protocols", "show", path, "--json").document
    assert document["sha256"] == load_protocol(str(path)).sha256


def test_diff_names_both_values(cli, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('id = "mine-v1"\nsummary = "x"\nextends = "laptop-v1"\n[method.ad]\nupdates = 7\nhead = "linear"\n')
    changed = cli("protocols", "diff", "laptop-v1", path, "--json").document["differences"]
    assert changed["method.ad.updates"] == [1000, 7]
    assert changed["method.ad.head"] == [None, "linear"]
    assert set(changed) == {"id", "summary", "method.ad.updates", "method.ad.head"}
    assert "method.ad.updates: 1000 → 7" in cli("protocols", "diff", "laptop-v1", path).out
    assert cli("protocols", "diff", "laptop-v1", "laptop-v1").out == ""


@pytest.mark.parametrize("name", list_protocols())
def test_those_of_the_package_are_right(cli, name):
    output = cli("protocols", "check", name)
    assert output.code == 0, output.out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[method.ad]\nupdats = 7", "updats"),
        ("[method.ad-dt]\nupdats = 7", "updats"),
        ("[backbone.mamba]\nwidth = 7", "width"),
        ('[environments.reacher-goal-v1]\nsource = "sacc"', "sacc"),
        ('[environments.reacher-goal-v1.split]\nsha256 = "00"', "differ from the protocol's frozen split"),
    ],
)
def test_what_is_wrong_is_found_before_anything_runs(cli, tmp_path, text, words):
    path = tmp_path / "mine.toml"
    path.write_text(f'id = "mine-v1"\nsummary = "x"\nextends = "smoke-v1"\n{text}\n')
    output = cli("protocols", "check", path)
    assert output.code == 5
    assert words in output.out
