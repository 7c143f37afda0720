"""What plots show: sensible ranges, names that do not run into each other, and every text as text."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import combinations

import numpy as np
import pytest

from icrl_leaderboards.analysis.steps import smoothed, step_rewards
from icrl_leaderboards.analysis.summary import group_runs, tables_of
from icrl_leaderboards.drawing import COLOURS, drawing_style, palette
from icrl_leaderboards.report.figures import KINDS, FigureData, make_figures
from icrl_leaderboards.report.figures.adaptation import (
    bands_leave,
    episode_plot,
    grouped,
    principal_rows,
    steps_plot,
    value_range,
)
from icrl_leaderboards.report.figures.curves import curve_figure
from icrl_leaderboards.report.figures.setting import sweep_figures, sweeps_of
from icrl_leaderboards.report.ranking import probabilities_of_improvement, rank_methods
from icrl_leaderboards.report.styles import line_styles
from icrl_leaderboards.runs.scores import RunScores
from icrl_leaderboards.wording.text import shorten, visible


def table_of(*records):
    (table,) = tables_of(group_runs([RunScores.from_record(record) for record in records]))
    return table


def plot_of(*records):
    table = table_of(*records)
    return episode_plot(table, line_styles(table.rows))


def texts_of(figure, width=None, labels=None):
    """Every text in a drawing, as matplotlib has it."""
    from matplotlib.text import Text

    with drawing_style():
        drawn = figure.canvas(width, labels).figure
        drawn.canvas.draw()
        return [text.get_text() for text in drawn.findobj(Text) if text.get_text()]


def figures_of(kind, table, records=()):
    return make_figures(kind, FigureData(table, line_styles(table.rows), {each.run_id: each for each in records}))


# --- Drawings ----------------------------------------------------------------------------------------------------------


def test_texts_are_drawn_as_they_are(make_record, hostile_name):
    record = make_record(hostile_name, num_episodes=3, run_id="run")
    figure = figures_of("curves", table_of(record))[0]
    root = ElementTree.fromstring(figure.svg)
    known = {"svg", "style", "title", "desc", "g", "path", "defs", "use", "clipPath", "rect"}
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= known
    names = {element.get("data-series") for element in root.iter() if element.get("class") == "series"}
    assert names == {visible(shorten(hostile_name, 60))}
    written = texts_of(figure)
    assert any(visible(hostile_name)[:4] in each for each in written)


def test_colours_are_literal_and_those_of_the_palette(make_record):
    root = ElementTree.fromstring(figures_of("curves", table_of(make_record()))[0].svg)
    known = {light for _, light, _ in palette()} | {"none"}
    used = {element.get(key) for element in root.iter() for key in ("fill", "stroke")} - {None}
    assert COLOURS[0][0] in used
    assert used <= known
    assert not any(element.get("style") for element in root.iter())


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png"])
def test_equal_runs_give_equal_pictures_whatever_the_users_settings(make_record, tmp_path, suffix):
    import matplotlib

    figure = figures_of("profile", table_of(make_record()))[0]
    paths = [tmp_path / name / f"figure{suffix}" for name in ("a", "b")]
    for path, size in zip(paths, (9.0, 20.0), strict=True):
        with matplotlib.rc_context({"font.size": size, "svg.fonttype": "none", "svg.hashsalt": str(size)}):
            figure.save(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].with_suffix(".csv").read_text().startswith("score,ad-mamba,ad-mamba low,ad-mamba high\n")


@pytest.mark.parametrize("kind", KINDS)
def test_no_two_texts_of_a_figure_touch(make_record, kind):
    from matplotlib.text import Text

    skills = {"ad-mamba": 0.8, "a-plugin-with-a-long-name": 0.79, "mql": 0.78, "b": 0.2}
    records = [make_record(name, skill=skill, parameters=int(1e5 + 1e4 * skill)) for name, skill in skills.items()]
    records.append(make_record(variant={"method.context_length": 200}, run_id="x", config={}))
    records.append(make_record(variant={"method.context_length": 300}, run_id="y", config={}))
    for figure in figures_of(kind, table_of(*records), records):
        for width in (3.25, None):
            with drawing_style():
                drawn = figure.canvas(width).figure
                drawn.canvas.draw()
                shown = [each for each in drawn.findobj(Text) if each.get_text() and each.get_visible()]
                boxes = [(each.get_text(), each.get_window_extent().shrunk(0.98, 0.7)) for each in shown]
            for (one, box), (other, beside) in combinations(boxes, 2):
                assert not box.overlaps(beside), (one, other)
            for text, box in boxes:
                assert box.x0 >= -1, text
                assert box.x1 <= drawn.bbox.x1 + 1, text
            assert "…" not in " ".join(text for text, _ in boxes)


# --- Steps within the first episodes -----------------------------------------------------------------------------------


def test_rewards_by_step_are_means_over_seeds_and_the_steps_before():
    rewards = np.array([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 6.0, 0.0]])
    assert smoothed(rewards, 2).tolist() == [[1.0, 1.5, 2.5, 3.5], [0.0, 0.0, 3.0, 3.0]]
    assert smoothed(rewards, 9)[0].tolist() == [1.0, 1.5, 2.0, 2.5]


def test_the_first_episodes_are_drawn_from_the_seeds_that_know_them(make_record):
    first, second = [[-3.0, -2.0], [-1.0, -1.0]], [[-1.0, -2.0], [-1.0, 0.0]]
    records = [
        make_record(seed=seed, step_rewards=rewards, num_episodes=2)
        for seed, rewards in enumerate((first, second, None))
    ]
    np.testing.assert_allclose(step_rewards(records), [[-2.0, -2.0], [-1.0, -0.5]])
    *_, within = figures_of("curves", table_of(*records), records)
    assert within.name == "figure-within"
    assert "ad-mamba" in texts_of(within)
    numbers = [line.split(",") for line in within.numbers.as_csv().splitlines()]
    assert [float(value) for _, value in numbers[1:]] == [-2.0, -2.0, -1.0, -0.75]
    assert all(figure.name != "figure-within" for figure in figures_of("curves", table_of(records[2]), records[2:]))


# --- Adaptation curves -------------------------------------------------------------------------------------------------


def test_a_far_floor_does_not_flatten_the_curves(make_record):
    plot = plot_of(make_record(random=[-500.0] * 10))
    low, high = value_range(plot)
    assert low > -20
    assert high == -2.0
    assert "random −500 ↓" in texts_of(curve_figure(plot, "name"))
    assert value_range(plot_of(make_record()))[0] <= -12.5  # a floor nearby has its line


def test_a_method_that_fell_apart_does_not_flatten_the_others(make_record):
    broken = make_record("broken", returns=np.full((10, 50), -1e6).tolist())
    plot = plot_of(make_record(), broken)
    assert value_range(plot)[0] > -30
    assert "broken −1 M ↓" in texts_of(curve_figure(plot, "name"))


def test_a_wide_band_does_not_flatten_the_curves_and_the_figure_says_so(make_record):
    far = make_record("two-seeds", returns=[*[[-4.0] * 50] * 9, [-300.0] * 50])
    plot = plot_of(make_record(skill=0.9), far)
    low, high = value_range(plot)
    means = np.concatenate([curve.mean for curve in plot.curves])
    assert high - low < 1.6 * (max(means.max(), -2.0) - min(means.min(), -12.5))
    assert bands_leave(plot, low, high) == ["two-seeds"]
    assert "cut off at the edge: two-seeds" in " ".join(texts_of(curve_figure(plot, "name")))
    assert "cut off" not in " ".join(texts_of(curve_figure(plot_of(make_record()), "name")))


def test_names_are_as_the_user_wants_them(make_record):
    figure = figures_of("curves", table_of(make_record()))[0]
    assert "AD" in texts_of(figure, 3.25, {"ad-mamba": "AD"})


def test_many_episodes_are_shown_as_means_of_neighbours():
    returns = np.arange(24_000.0).reshape(2, 3, 4000)
    means, ends = grouped(returns, 120)
    assert means.shape == (2, 3, len(ends))
    assert len(ends) <= 120
    assert ends[0] == 1
    assert ends[-1] == 4000
    weights = np.diff(ends, prepend=0)
    assert np.allclose((means * weights).sum(axis=-1) / 4000, returns.mean(axis=-1))
    assert grouped(returns, 4000)[0] is returns


def test_a_plot_has_one_row_a_method_the_protocols_own_where_there_is_one(make_record):
    table = table_of(
        make_record(skill=0.5),
        make_record(variant={"method.context_length": 200}, run_id="a", skill=0.9),
        make_record("mql", variant={"method.updates": 1}, run_id="b", skill=0.3),
        make_record("mql", variant={"method.updates": 2}, run_id="c", skill=0.6),
    )
    assert [row.head.run_id for row in principal_rows(table)] == ["c", "reacher-goal-v1-laptop-v0-ad-mamba-0"]


def test_the_source_stands_beside_the_methods_on_environment_steps(make_record):
    curves = [[-12.0, -8.0, -5.0, -3.0]] * 10
    known = make_record(source_curves=curves, config={"source": {"total_steps": 20_000}})
    table = table_of(known)
    plot = steps_plot(table, line_styles(table.rows), {known.run_id: known})
    assert [curve.brief for curve in plot.curves] == ["ad-mamba", "source"]
    assert plot.curves[0].places[0] == 50
    assert plot.curves[1].places.tolist() == [5000, 10_000, 15_000, 20_000]
    assert plot.curves[1].mean.tolist() == curves[0]
    assert steps_plot(table, line_styles(table.rows), {}) is None


def test_a_source_row_is_a_reference_and_not_a_competitor(make_record):
    source = make_record("source", num_episodes=400, adapt_env_steps=10 * 400 * 50)
    table = table_of(make_record(), make_record("mql"), source)
    styles = line_styles(table.rows)
    assert {curve.brief for curve in episode_plot(table, styles).curves} == {"ad-mamba", "mql"}
    plot = steps_plot(table, styles, {})
    assert [curve.brief for curve in plot.curves][2:] == ["source"]
    assert plot.last_place == 20_000
    assert [entry.reference for entry in rank_methods([table])] == [
        entry.method == "source" for entry in rank_methods([table])
    ]
    assert {line[0] for line in figures_of("cost", table)[0].numbers.lines} == {"ad-mamba", "mql"}
    assert len(figures_of("tasks", table)[0].numbers.header) == 6


# --- The other figures -------------------------------------------------------------------------------------------------


def test_the_numbers_behind_a_plot_are_its_numbers(make_record):
    record = make_record(num_episodes=3, num_tasks=2, returns=[[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]])
    table = table_of(record)
    styles = line_styles(table.rows)
    figure = curve_figure(episode_plot(table, styles), "name")
    assert [line[1].partition(" ")[0] for line in figure.numbers.as_text] == ["2.000", "3.000", "4.000"]
    assert [line[-1] for line in figures_of("tasks", table)[0].numbers.as_text] == ["3.00", "5.00"]


def test_a_profile_falls_from_all_to_none(make_record):
    table = table_of(*[make_record(seed=seed) for seed in range(3)])
    (figure,) = figures_of("profile", table)
    shares = [float(line[1].partition(" ")[0]) for line in figure.numbers.as_text]
    assert shares[0] == 1.0
    assert shares[-1] == 0.0
    assert shares == sorted(shares, reverse=True)
    assert figures_of("profile", table_of(make_record(oracle=[None] * 10, oracle_greedy=[None] * 10))) == []


def test_rows_that_differ_in_one_setting_are_a_sweep(make_record):
    def variant(length, skill, **more):
        return make_record(variant={"method.context_length": length, **more}, run_id=f"{length}{more}", skill=skill)

    base = make_record(config={"method": {"context_length": "full"}})
    table = table_of(variant(1000, 0.6), base, variant(200, 0.5), variant(200, 0.4, **{"method.updates": 9}))
    (sweep,) = sweeps_of(table, {base.run_id: base.config})
    assert sweep.values == ("200", "1000", "full")
    assert sweeps_of(table, {})[0].values == ("200", "1000")
    ends, curves = sweep_figures(table, sweep, "sweep")
    assert [line[0] for line in ends.numbers.as_text] == ["200", "1000", "full"]
    assert {"200", "1000", "full"} <= set(texts_of(curves))
    assert sweeps_of(table_of(base), {base.run_id: base.config}) == []


def test_a_ranking_covers_every_environment_or_says_what_is_missing(make_record):
    tables = [
        table_of(make_record("a", skill=0.5), make_record("b", skill=0.9)),
        table_of(make_record("a", skill=0.5, environment="ant-dir-v1")),
    ]
    ranked = rank_methods(tables)
    assert [(entry.method, entry.overall is None) for entry in ranked] == [("a", False), ("b", True)]
    scores = [row.normalised_score.value for row in ranked[0].rows]
    assert ranked[0].overall.value == pytest.approx(sum(scores) / 2)


def test_a_score_of_few_tasks_is_not_ranked_by(make_record):
    few = make_record("a", skill=0.9, oracle=[-2.0] * 4 + [None] * 6)
    half = make_record("b", skill=0.3, oracle=[-2.0] * 5 + [None] * 5)
    ranked = rank_methods([table_of(few, half)])
    assert [(entry.method, entry.overall is None) for entry in ranked] == [("b", False), ("a", True)]
    assert "4 of 10" in ranked[1].rows[0].set_apart


def test_the_probability_of_improvement_of_two_methods_sums_to_one(make_record):
    better = [make_record("a", seed, skill=0.62) for seed in range(3)]
    rows, matrix = probabilities_of_improvement(table_of(*better, *[make_record("b", seed) for seed in range(2)]))
    (none, ahead), (behind, nothing) = matrix
    assert none is nothing is None
    wins = [
        one > other
        for row in rows[0].outcome.last
        for each in rows[1].outcome.last
        for one, other in zip(row, each, strict=False)
    ]
    assert ahead.value == pytest.approx(np.mean(wins))
    assert ahead.value + behind.value == pytest.approx(1)
    assert ahead.interval.low + behind.interval.high == pytest.approx(1)


# --- Claims ------------------------------------------------------------------------------------------------------------


def test_a_claims_figure_has_each_statement_that_has_a_number(make_record):
    """AD with Mamba against AD with a decision transformer (C1), near the oracle (C4), against MQL (C6)."""
    records = [
        make_record(name, seed, skill=skill)
        for name, skill in {"ad-mamba": 0.9, "ad-dt": 0.3, "mql": 0.9}.items()
        for seed in range(2)
    ]
    (figure,) = figures_of("claims", table_of(*records), records)
    lines = {(line[0], line[1]): line for line in figure.numbers.lines}
    assert {name for name, _ in lines} == {"C1", "C4", "C6"}  # no row of macaw, no Ant, no study
    _, _, (value, low, high), threshold, verdict = lines["C1", "ad-mamba − ad-dt, last 10 %"]
    assert low < value < high
    assert (threshold, verdict) == (0.0, "holds" if low > 0 else "undecided")
    assert {line[3] for line in figure.numbers.lines if line[0] == "C4"} == {0.8}
    assert not figures_of("claims", table_of(make_record("another")), [])
