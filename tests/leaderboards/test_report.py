"""The report is complete, deterministic, needs nothing from elsewhere, and lets nothing from a run act on the page."""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from icrl_leaderboards.analysis.summary import group_runs
from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_leaderboards.drawing import COLOURS
from icrl_leaderboards.report import html, sections, writing
from icrl_leaderboards.report.styles import FAMILIAR, line_styles
from icrl_leaderboards.report.writing import details_for, write_report
from icrl_leaderboards.runs.scores import RunScores
from icrl_leaderboards.wording.text import visible
from icrl_registry.errors import UsageError
from icrl_registry.hooks import ReportSection

VOID = {"meta", "br", "hr", "input"}
ALLOWED = VOID | {
    *(
        "html",
        "head",
        "title",
        "style",
        "body",
        "header",
        "main",
        "section",
        "nav",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "p",
        "div",
        "span",
        "bdi",
    ),
    *(
        "ul",
        "ol",
        "li",
        "a",
        "details",
        "summary",
        "dl",
        "dt",
        "dd",
        "pre",
        "code",
        "em",
        "strong",
        "figure",
        "figcaption",
    ),
    *("form", "label", "select", "option", "button", "output", "script"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td"),
    *("svg", "desc", "g", "path", "defs", "use", "text", "line", "circle", "clippath", "rect"),
}


class Page(HTMLParser):
    """Parses a page strictly: balanced, only known elements, and everything that could act on it collected."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.style = ""
        self.script = ""

    def handle_starttag(self, tag, attributes):
        assert tag in ALLOWED, tag
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in ALLOWED, tag
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data
        elif self.open and self.open[-1] == "script":
            self.script += data
        else:
            self.text.append(data)

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")


def parse(path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    return page


def assert_harmless(page: Page) -> None:
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name != "style", tag
        assert name not in ("src", "srcset", "action", "formaction", "data", "ping", "background")
        if name == "href":
            assert value.startswith("#") or (tag == "a" and value.startswith(("http://", "https://")))
    assert "url(" not in page.style
    assert "@import" not in page.style
    ids = Counter(value for _, name, value in page.attributes if name == "id")
    assert max(ids.values()) == 1
    targets = {value[1:] for _, name, value in page.attributes if name == "href" and value.startswith("#")}
    assert targets <= set(ids)


ANT, REACHER = "results-ant-dir-v1-laptop-v0-online", "results-reacher-goal-v1-laptop-v0-online"


@pytest.fixture
def records(make_record):
    runs = [
        make_record(method, seed, skill=skill)
        for method, skill in (("ad-mamba", 0.7), ("ad-dt", 0.5))
        for seed in range(3)
    ]
    other = make_record(environment="ant-dir-v1", num_tasks=1, num_episodes=1, oracle=[None], oracle_greedy=[None])
    return [*runs, make_record(variant={"method.context_length": 200}, run_id="variant"), other]


def test_the_page_holds_everything(records, tmp_path):
    paths = write_report(records, tmp_path / "new" / "report")
    plots = {path.name for path in paths[2:]}
    assert [path.name for path in paths[:2]] == ["index.html", "report.md"]
    ends = ("", "-tasks", "-profile", "-sweep-1-ends", "-cost-parameters", "-cost-action")
    assert {f"{ANT}.svg", *(f"{REACHER}{end}.svg" for end in ends)} <= plots
    page = parse(paths[0])
    assert_harmless(page)
    text = " ".join(page.text)
    for shown in (
        "8 runs, 2 methods, 2 environments; the newest of 2026-01-31 12:00 UTC",
        "reacher-goal-v1",
        "ant-dir-v1",
        "method.context_length=200",
        "oracle, greedy",
        "zero action",
        "Every statistic",
        "optimality gap",
        "Performance profile",
        "Score by training time",
        "Return by task",
        "0123456789abcdef",
        "learning_rate",
        '"torch": "2.13.0"',
        "one seed: the interval is over tasks only",
        *(record.run_id for record in records),
    ):
        assert shown in text, shown
    markdown = paths[1].read_text()
    assert set(re.findall(r"\(([a-z0-9-]+\.svg)\)", markdown)) == plots


def test_the_policy_allows_the_pages_own_style_and_script_and_nothing_else(records, tmp_path):
    page = parse(write_report(records, tmp_path)[0])
    (policy,) = [value for tag, name, value in page.attributes if tag == "meta" and value.startswith("default-src")]
    style, script = (
        base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in (page.style, page.script)
    )
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'"
    )


def test_the_script_is_the_same_for_every_report(records, make_record, tmp_path):
    other = write_report([make_record(method="another", environment="other-v1")], tmp_path / "other")
    assert parse(write_report(records, tmp_path)[0]).script == parse(other[0]).script


def test_equal_runs_give_equal_bytes(records, tmp_path):
    first = write_report(records, tmp_path / "a")
    second = write_report(list(reversed(records)), tmp_path / "b")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_plots_have_a_text_alternative_and_their_numbers(records, tmp_path):
    page = parse(write_report(records, tmp_path)[0])
    plots = [value for tag, name, value in page.attributes if tag == "svg" and name == "aria-labelledby"]
    ids = {value for _, name, value in page.attributes if name == "id"}
    assert {f"{ANT}-title {ANT}-desc", f"{REACHER}-tasks-title {REACHER}-tasks-desc"} <= set(plots)
    assert all(part in ids for labels in plots for part in labels.split())
    text = " ".join(page.text)
    assert "ad-mamba goes from" in text
    assert "Return by episode: reacher-goal-v1, laptop-v0, online" in text
    small = [each for each in plots if "-small-" in each]  # the overview repeats what stands below in full
    assert page.text.count("Numbers") == len(plots) - len(small)


def test_every_plot_is_a_file_of_its_own_that_opens(records, tmp_path):
    for path in write_report(records, tmp_path)[2:]:
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert float(root.get("width")) > 300
        assert "prefers-color-scheme: dark" in path.read_text()


def test_plots_of_an_earlier_report_are_removed(records, tmp_path):
    (tmp_path / "results-of-mine.svg").write_text("<svg/>")
    (tmp_path / "results-1.svg.bak").write_text("kept")
    (tmp_path / "results-7-cost-steps.svg").write_text("of a report that numbered its tables")
    first = write_report(records, tmp_path)
    second = write_report(records[-1:], tmp_path)
    assert len(second) < len(first)
    assert {path.name for path in tmp_path.iterdir()} == {
        *(path.name for path in second),
        "results-of-mine.svg",
        "results-1.svg.bak",
    }


def test_a_table_keeps_its_plots_names_when_others_join(records, make_record, tmp_path):
    alone = {path.name for path in write_report(records, tmp_path / "a")[2:]}
    names = {path.name for path in write_report([*records, make_record(environment="aaa-v1")], tmp_path / "b")[2:]}
    assert alone < names
    assert "results-aaa-v1-laptop-v0-online.svg" in names


def test_names_that_differ_in_signs_only_have_plots_of_their_own(make_record, tmp_path):
    names = ("Some/Body v1", "some-body-v1", "x" * 500)
    runs = [make_record(environment=name, run_id=f"run-{index}") for index, name in enumerate(names)]
    plots = {path.name for path in write_report(runs, tmp_path)[2:]}
    first = "results-some-body-v1-laptop-v0-online"
    assert {f"{first}.svg", f"{first}-2.svg", f"results-{'x' * 60}-laptop-v0-online.svg"} <= plots


def test_only_the_newest_runs_have_a_fold_out(make_record, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "MOST_DETAILED", 3)
    monkeypatch.setattr(html, "MOST_LISTED", 4)
    runs = [make_record(seed=seed, created_at=f"2026-01-{seed + 1:02d}T00:00:00+00:00") for seed in range(9)]
    paths = write_report(runs, tmp_path)
    page = parse(paths[0])
    folds = [value for tag, name, value in page.attributes if tag == "details" and name == "data-text"]
    assert len(folds) == 3
    assert [any(f"-{seed}" in each for each in folds) for seed in (5, 6, 7, 8)] == [False, True, True, True]
    text = " ".join(page.text)
    assert "6 older ones here are listed without, 2 of them only counted." in text
    assert text.count("2026-01-03T00:00:00+00:00") == 1
    assert "2026-01-02T00:00:00+00:00" not in text
    assert "6 older ones are not listed" in paths[1].read_text()


def test_a_board_gives_what_its_records_give(records, tmp_path):
    board = Leaderboard(tmp_path / "board.sqlite")
    for record in records:
        board.record(record)
    scores = board.scores()
    one = write_report(scores, tmp_path / "a", details=details_for(scores, board))
    other = write_report(records, tmp_path / "b")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_hostile_names_come_out_as_text(make_record, hostile_name, tmp_path):
    fields = ("method", "backbone", "environment", "protocol", "track", "checkpoint", "dataset")
    everywhere = dict.fromkeys(fields, hostile_name)
    record = make_record(
        **everywhere,
        run_id=("x" + hostile_name)[:255],
        num_episodes=3,
        task_labels=[f"{hostile_name}{index}" for index in range(10)],
        variant={f"method.{hostile_name[:50]}": hostile_name},
        config={"method": {hostile_name: hostile_name}},
        provenance={"kernel": hostile_name, "git": hostile_name, hostile_name[:255]: [hostile_name]},
        diagnostics={hostile_name[:255]: 1.0},
        seconds={hostile_name[:255]: 1.0},
        oracle=[None, *[-2.0] * 9],
    )
    other = make_record(method=hostile_name + "2", num_episodes=3, run_id="other", environment=hostile_name)
    paths = write_report([record, other], tmp_path, [ReportSection(hostile_name, hostile_name)])
    page = parse(paths[0])
    assert_harmless(page)
    assert visible(hostile_name) in "".join(page.text)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", "".join(page.text))
    markdown = paths[1].read_text(encoding="utf-8")
    assert not re.search(r"<(?!br>)", markdown)
    assert all(line.count(" | ") < 12 for line in markdown.splitlines())


def test_a_plugins_section_is_markdown_without_markup(records, tmp_path):
    body = "Some *words*.\n\n| a |\n|---|\n| 1 |\n\n<script>alert(1)</script> ![x](http://a/x.png) [y](javascript:alert(1))"
    paths = write_report(records, tmp_path, [ReportSection("From <a> plugin", body)])
    page = parse(paths[0])
    assert_harmless(page)
    text = "".join(page.text)
    assert "From <a> plugin" in text
    assert "<script>alert(1)</script>" in text
    assert "<em>words</em>" in paths[0].read_text()
    assert "&lt;script>" in paths[1].read_text()


def test_colours_depend_on_the_name_first(make_record):
    def styles(*methods):
        return line_styles(group_runs([RunScores.from_record(make_record(method=each)) for each in methods]))

    assert styles("ad-mamba", "ad-dt", "zeta")["ad-mamba"] == styles("ad-mamba", "macaw", "a", "b")["ad-mamba"]
    for names in (("a", "b", "c", "d", "e", "f", "g", "h"), ("ad-mamba", "zeta", "mql", "eta", "theta", "source")):
        drawn = styles(*names)
        assert len({style.colour for style in drawn.values()}) == len(names)  # also of the source
    assert FAMILIAR["source"] not in {style.colour for style in styles(*[f"m-{index}" for index in range(24)]).values()}
    many = styles(*[f"method-{index}" for index in range(24)])
    assert len(set(many.values())) == 24
    assert len(styles(*[f"method-{index}" for index in range(60)])) == 60


def luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_stand_out_from_their_ground(records, tmp_path):
    style = parse(write_report(records, tmp_path)[0]).style
    light, dark = re.findall(r"--ground: (#\w{6})", style)
    for on_light, on_dark in COLOURS:
        for colour, ground in ((on_light, light), (on_dark, dark)):
            bright, dim = sorted((luminance(colour), luminance(ground)), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) >= 4.5, (colour, ground)  # WCAG AA: names are written in them


def test_an_empty_report_says_what_to_type(tmp_path):
    paths = write_report([], tmp_path)
    assert [path.name for path in paths] == ["index.html", "report.md"]
    assert "icrl-bench run" in "".join(parse(paths[0]).text)
    assert "icrl-bench run" in paths[1].read_text()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot write the report"):
        write_report([], tmp_path / "file" / "out")


def test_a_report_shows_the_tables_with_the_newest_runs(make_record, tmp_path, monkeypatch):
    monkeypatch.setattr(sections, "MOST_TABLES", 2)
    days = {"a-v1": "2026-01-03", "b-v1": "2026-01-01", "c-v1": "2026-01-02"}
    runs = [make_record(environment=name, created_at=f"{day}T00:00:00+00:00") for name, day in days.items()]
    paths = write_report(runs, tmp_path)
    headline = (
        "3 runs, 1 method, 3 environments; the newest of 2026-01-03 00:00 UTC; 1 of 3 tables, with the oldest runs"
    )
    for path in paths[:2]:
        text = path.read_text(encoding="utf-8")
        assert headline in text
        assert "results-c-v1" in text
        assert "b-v1" not in text.replace("reacher-goal-v1", "")


def test_a_report_of_many_methods_stays_small_and_says_what_it_leaves_out(make_record, tmp_path):
    one = RunScores.from_record(make_record(num_tasks=2, num_episodes=5))
    runs = [replace(one, run_id=f"{index}", method=f"method-{index}") for index in range(1500)]
    paths = write_report(runs, tmp_path)
    text = " ".join(parse(paths[0]).text)
    assert sum(path.stat().st_size for path in paths) < 6e6
    assert "1,100 rows ranked below these are left out of this page" in text
    assert "1492 more methods, ranked below these, are in the table." in text
    assert "The best 60 methods." in text
    assert "1,500 older ones here are listed without, 500 of them only counted." in text
