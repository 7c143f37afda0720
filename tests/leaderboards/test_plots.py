"""Plots are files that open, the same every time, with labels that do not run into each other."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icrl_leaderboards.report.plots import _spread, plot_adaptation_curves
from icrl_leaderboards.scores import RunScores
from icrl_leaderboards.summary import group_runs
from icrl_registry.errors import UsageError


def rows_of(*records):
    return group_runs([RunScores.from_record(record) for record in records])


@pytest.mark.parametrize("name", ["curve.png", "curve.svg"])
def test_a_plot_is_the_same_every_time(make_record, tmp_path, name):
    rows = rows_of(*[make_record(seed=seed) for seed in range(2)], make_record(method="ad-dt"))
    first = plot_adaptation_curves(rows, tmp_path / name).read_bytes()
    second = plot_adaptation_curves(rows, str(tmp_path / name)).read_bytes()
    assert first == second
    assert len(first) > 5000


def test_names_are_drawn_as_they_are(make_record, hostile_names, tmp_path):
    names = [name for name in hostile_names if name.isprintable() and len(name) < 40]
    rows = rows_of(
        *[make_record(method=name, num_episodes=3, run_id=f"run {index}") for index, name in enumerate(names)]
    )
    path = plot_adaptation_curves(rows, tmp_path / "curve.svg")
    drawn = [element.text or "" for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]
    for name in names:
        assert name.strip() in [each.strip() for each in drawn] or not name


def test_one_plot_shows_one_table(make_record, tmp_path):
    for records in ([], [make_record(), make_record(environment="ant-dir-v1")]):
        with pytest.raises(UsageError, match="one plot cannot show"):
            plot_adaptation_curves(rows_of(*records), tmp_path / "x.png")


def test_a_file_that_cannot_be_drawn(make_record, tmp_path):
    for path in (tmp_path / "missing" / "x.png", tmp_path / "x.docx"):
        with pytest.raises(UsageError, match="cannot write the plot"):
            plot_adaptation_curves(rows_of(make_record(num_episodes=1)), path)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.lists(st.floats(-100, 100), max_size=6))
def test_labels_keep_their_order_and_distance(values):
    heights = _spread(values, 5.0)
    order = sorted(range(len(values)), key=lambda index: values[index])
    placed = [heights[index] for index in order]
    assert all(upper - lower >= 5 - 1e-6 for lower, upper in pairwise(placed))
    far_apart = all(abs(values[a] - values[b]) >= 5 for a in range(len(values)) for b in range(a))
    if far_apart:
        assert heights == pytest.approx(values)


def test_a_floor_far_below_does_not_flatten_the_curves(make_record, tmp_path):
    near, far = (make_record(random=[value] * 10, num_episodes=3) for value in (-14.0, -500.0))
    drawn = {}
    for name, record in (("near", near), ("far", far)):
        path = plot_adaptation_curves(rows_of(record), tmp_path / f"{name}.svg")
        drawn[name] = [
            element.text or "" for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
        ]
    assert "random" in drawn["near"]
    assert "random −500.0 ↓" in drawn["far"]
    assert not [text for text in drawn["far"] if text.startswith("−") and len(text) > 3]  # no tick below −99
