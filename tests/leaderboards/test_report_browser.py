"""The report in a real browser: it fits every screen, sorts and filters, asks nothing of anyone and runs nothing from data.

Needs Chromium from the system's packages. On a machine without it these tests are skipped; where `CI` is set they fail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icrl_leaderboards.drawing import COLOURS
from icrl_leaderboards.report.writing import write_report
from icrl_leaderboards.wording.text import shorten
from icrl_registry.hooks import ReportSection

WIDTHS = (390, 820, 1400)
SECTION = "#results-reacher-goal-v1-laptop-v0-online"
RESULTS = f"{SECTION} .results"


@dataclass
class Visit:
    """An open page, and everything that happened on it which should not."""

    page: Any
    requests: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def assert_quiet(self, path: Path) -> None:
        """Only the page itself was asked for; no dialog, no error, no refused script."""
        assert set(self.requests) == {path.as_uri()}
        assert self.said == []

    def rows(self, table: str) -> list[str]:
        """The first cells of the visible rows of a table."""
        cells = self.page.locator(f"{table} tbody tr:not([hidden]) th")
        return [text.split("\n")[0].strip() for text in cells.all_inner_texts()]

    def values(self, table: str, column: int) -> list[float]:
        """The numbers that a column's cells begin with, top to bottom."""
        cells = self.page.locator(f"{table} tbody tr:not([hidden]) td:nth-of-type({column})").all_inner_texts()
        found = [re.match(r"[+−-]?[\d,.]+", cell) for cell in cells]
        return [float(each.group().replace("−", "-").replace(",", "")) for each in found if each]


@pytest.fixture
def visit(chromium):
    contexts = []

    def open_page(path: Path, width: int = 1400, **options: Any) -> Visit:
        context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        opened = Visit(context.new_page())
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.on("console", lambda message: opened.said.append(message.text))
        opened.page.on("pageerror", lambda error: opened.said.append(str(error)))
        opened.page.on("dialog", lambda dialog: (opened.said.append(f"dialog {dialog.message}"), dialog.dismiss()))
        opened.page.goto(path.as_uri())
        return opened

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory, make_module_record) -> Path:
    methods = {"ad-mamba": 0.8, "ad-dt": 0.5, "mql": 0.65}
    records = [
        make_module_record(method, seed, environment, skill=skill, parameters=int(1e5 * skill), source_curves=curves)
        for environment in ("ant-dir-v1", "reacher-goal-v1")
        for method, skill in methods.items()
        for seed in range(2)
        for curves in [np.linspace(-12, -2, 20)[None].repeat(10, axis=0).tolist()]
    ]
    records.append(make_module_record(variant={"method.context_length": 200}, run_id="variant", skill=0.4))
    records.append(make_module_record("macaw", track="offline", run_id="offline"))
    return write_report(records, tmp_path_factory.mktemp("report"))[0]


@pytest.fixture(scope="module")
def hostile_report(tmp_path_factory, make_module_record, hostile_corpus) -> Path:
    records = []
    for index, name in enumerate(hostile_corpus):
        fields = ("method", "backbone", "environment", "protocol", "track", "checkpoint", "dataset")
        everywhere = dict.fromkeys(fields, name)
        record = make_module_record(
            **everywhere,
            run_id=f"{index}{name}"[:255],
            num_episodes=3,
            task_labels=[f"{name}{task}" for task in range(10)],
            variant={f"method.{name[:50]}": name},
            config={"method": {name: name}, "source": {"total_steps": 1000}},
            provenance={"kernel": name, name[:255]: [name]},
            diagnostics={name[:255]: 1.0},
            seconds={name[:255]: 1.0, "train": 2.0, "adapt": 1.0},
            source_curves=[[-9.0, -3.0]] * 10,
        )
        beside = make_module_record(
            **everywhere | {"method": name + "2", "run_id": f"other {index}"}, num_episodes=3, variant={"a": name}
        )
        records += [record, beside]
    sections = [ReportSection(name, name) for name in hostile_corpus]
    return write_report(records, tmp_path_factory.mktemp("hostile"), sections)[0]


def unfold(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_the_screen(report, visit, width, scheme):
    opened = visit(report, width, color_scheme=scheme)
    for _ in range(2):
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        unfold(opened.page)
    letters = "[...document.querySelectorAll('figure svg use')].filter(each => each.href.baseVal.startsWith('#glyph'))"
    heights = opened.page.evaluate(f"{letters}.map(each => 117 * Math.abs(each.parentElement.getScreenCTM().d))")
    assert len(heights) > 100
    assert min(height for height in heights if height > 0) >= 9  # lines that can be read, in pixels
    opened.assert_quiet(report)


@pytest.mark.parametrize("width", WIDTHS)
def test_no_name_leaves_the_page_or_acts_on_it(hostile_report, hostile_corpus, visit, width):
    opened = visit(hostile_report, width)
    unfold(opened.page)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.page.locator("script").count() == 1
    assert opened.page.locator("img, iframe, object, embed, link, base, form[action]").count() == 0
    acting = "[...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => a.name.startsWith('on')))"
    assert opened.page.evaluate(f"{acting}.length") == 0
    text = opened.page.evaluate("document.body.textContent")
    for name in hostile_corpus:
        assert shorten(name, 60) in text
    for name in hostile_corpus[:4]:
        opened.page.fill("#filter-text", name[:50])
    opened.page.click("#filter-reset")
    opened.assert_quiet(hostile_report)


def test_an_injected_script_would_not_run(report, visit):
    """The policy holds even if a page element came from data: the browser refuses it."""
    opened = visit(report)
    refused: list[str] = []
    opened.page.on("requestfailed", lambda request: refused.append(f"{request.url} {request.failure}"))
    opened.page.evaluate(
        "const added = document.createElement('script'); added.textContent = 'window.ran = 1'; document.body.append(added)"
    )
    opened.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=http://x.invalid onerror=\"ran=1\">')"
    )
    opened.page.wait_for_timeout(100)
    assert opened.page.evaluate("window.ran") is None
    assert any("Content Security Policy" in said for said in opened.said)
    assert refused == ["http://x.invalid/ csp"]


def test_sorting(report, visit):
    opened = visit(report)
    header = opened.page.locator(f"{RESULTS} thead th", has_text="last 10 %")
    column = opened.page.locator(f"{RESULTS} thead th").all_inner_texts().index(header.inner_text())
    before = opened.values(RESULTS, column)
    assert before == sorted(before, reverse=True)
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert opened.values(RESULTS, column) == before
    header.locator("button").press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert opened.values(RESULTS, column) == sorted(before)
    opened.page.locator(f"{RESULTS} thead button").first.click()
    names = opened.rows(RESULTS)
    assert names == sorted(names)
    assert header.get_attribute("aria-sort") is None
    opened.assert_quiet(report)


def test_sorting_reads_units(report, visit):
    opened = visit(report)
    unfold(opened.page)
    table = f"{SECTION} details table.other >> nth=0"
    opened.page.locator(table).locator("th button", has_text="parameters").click()
    sizes = opened.page.locator(table).locator("tbody tr td:nth-of-type(1)").all_inner_texts()
    numbers = [float(size.split()[0]) for size in sizes]
    assert numbers == sorted(numbers, reverse=True)


def test_filtering_by_words(report, visit):
    opened = visit(report)
    total = opened.page.locator(".results tr[data-method]").count()
    opened.page.fill("#filter-text", "mamba reacher")
    methods = opened.page.locator(f"{RESULTS} tr[data-method]:not([hidden])")
    assert [each.get_attribute("data-method") for each in methods.all()] == ["ad-mamba", "ad-mamba"]
    assert opened.page.locator("#filter-status").inner_text() == f"2 of {total} rows"
    assert not opened.page.locator("#results-reacher-goal-v1-laptop-v0-offline").is_visible()
    curves = opened.page.locator(f"{SECTION} figure").first.locator("g.series > path[stroke]")
    assert [curve.is_visible() for curve in curves.all()].count(True) == 1
    assert opened.rows(".ranking") == ["ad-mamba"]
    opened.page.fill("#filter-text", "context_length")
    assert opened.page.locator("#filter-status").inner_text() == f"1 of {total} rows"
    opened.page.click("#filter-reset")
    assert opened.page.locator("#filter-status").inner_text() == ""
    assert opened.page.locator("#results-reacher-goal-v1-laptop-v0-offline").is_visible()
    opened.assert_quiet(report)


def test_filtering_by_choice(report, visit):
    opened = visit(report)
    opened.page.select_option("select[data-key=environment]", "ant-dir-v1")
    shown = opened.page.locator(".environment:not([hidden]) h3 > bdi").all_inner_texts()
    assert shown == ["ant-dir-v1"]
    opened.page.select_option("select[data-key=environment]", "")
    opened.page.select_option("select[data-key=track]", "offline")
    assert opened.page.locator(".environment:not([hidden])").count() == 1
    assert opened.page.locator(".board:not([hidden])").count() == 1


def test_a_click_fades_a_methods_marks_within_one_figure(report, visit):
    opened = visit(report)
    figures = [opened.page.locator(f"{SECTION} figure").nth(index) for index in (0, 1)]
    figures[0].locator("[data-series='ad-dt']").last.dispatch_event("click")
    faded = [figure.locator(".faded").evaluate_all("all => all.map(each => each.dataset.series)") for figure in figures]
    assert set(faded[0]) == {"ad-dt"}
    assert len(faded[0]) >= 3  # its curve, its band and its name
    assert faded[1] == []
    figures[0].locator("[data-series='ad-dt']").last.dispatch_event("click")
    assert figures[0].locator(".faded").count() == 0


def test_dark_mode(report, visit):
    grounds = []
    for index, scheme in enumerate(("light", "dark")):
        page = visit(report, color_scheme=scheme).page
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        stroke = page.evaluate(
            f"getComputedStyle(document.querySelector('figure [stroke=\"{COLOURS[0][0]}\"]')).stroke"
        )
        assert stroke == "rgb({}, {}, {})".format(*bytes.fromhex(COLOURS[0][index][1:]))
    assert grounds[0] != grounds[1]


def test_the_page_is_complete_without_its_script(report, visit):
    opened = visit(report, 390, java_script_enabled=False)
    assert not opened.page.locator("#controls").is_visible()
    assert opened.page.locator(f"{RESULTS} tbody tr").count() == len(opened.rows(RESULTS))
    assert opened.page.locator("figure svg").first.is_visible()
    fold = opened.page.locator(f"{SECTION} > details", has_text="Runs and where they come from")
    fold.locator("summary").first.click()
    run = fold.locator("details.run").first
    run.locator("summary").first.click()
    assert run.locator("pre").first.is_visible()


def test_links_lead_to_their_sections(report, visit):
    opened = visit(report)
    opened.page.locator("nav a", has_text="reacher-goal-v1").first.click()
    target = opened.page.locator(opened.page.evaluate("location.hash"))
    assert "reacher-goal-v1" in target.locator("h3").first.inner_text()
    opened.assert_quiet(report)
