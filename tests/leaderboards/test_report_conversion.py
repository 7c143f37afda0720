"""A figure looks the same in Chromium, in librsvg and in CairoSVG, whose SVG engines share no code."""

from __future__ import annotations

import importlib
import io
import shutil
import subprocess

import numpy as np
import pytest

from icrl_leaderboards.analysis.summary import group_runs, tables_of
from icrl_leaderboards.report.figures import KINDS, FigureData, make_figures
from icrl_leaderboards.report.styles import line_styles
from icrl_leaderboards.runs.scores import RunScores

#: Pixels that are compared as one: letters and edges are smoothed differently within it.
_BLOCK = 8
#: The largest difference of such a mean, of 255.
_TOLERANCE = 12.0


@pytest.fixture(scope="module")
def drawings(make_module_record) -> dict[str, str]:
    records = [
        make_module_record(method, seed, skill=skill, parameters=int(1e5 * skill))
        for method, skill in {"ad-mamba": 0.8, "ad-dt": 0.5, "mql": 0.65}.items()
        for seed in range(2)
    ]
    for length in (200, 400):
        variant = {"method.context_length": length}
        records.append(make_module_record(variant=variant, run_id=f"variant-{length}", skill=0.4))
    (table,) = tables_of(group_runs([RunScores.from_record(record) for record in records]))
    data = FigureData(table, line_styles(table.rows), {record.run_id: record for record in records})
    return {kind: make_figures(kind, data)[0].svg for kind in KINDS}


@pytest.fixture
def in_browser(chromium, tmp_path):
    def picture(svg: str, width: int) -> np.ndarray:
        path = tmp_path / "figure.svg"
        path.write_text(svg, encoding="utf-8")
        page = chromium.new_page(viewport={"width": width, "height": 900})
        page.goto(path.as_uri())
        shot = page.locator("svg").screenshot()
        page.close()
        return pixels(shot)

    return picture


def pixels(png: bytes) -> np.ndarray:
    """(H, W, 3) colours on white."""
    image = importlib.import_module("PIL.Image").open(io.BytesIO(png)).convert("RGBA")
    values = np.asarray(image, dtype=float)
    alpha = values[..., 3:] / 255
    return values[..., :3] * alpha + 255 * (1 - alpha)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference of the means over blocks of pixels."""
    assert abs(one.shape[0] - other.shape[0]) <= 1
    assert abs(one.shape[1] - other.shape[1]) <= 1
    rows, columns = (min(one.shape[axis], other.shape[axis]) // _BLOCK for axis in (0, 1))

    def blocks(image: np.ndarray) -> np.ndarray:
        cut = image[: rows * _BLOCK, : columns * _BLOCK]
        return cut.reshape(rows, _BLOCK, columns, _BLOCK, 3).mean(axis=(1, 3))

    return float(np.abs(blocks(one) - blocks(other)).max())


def with_librsvg(svg: str) -> np.ndarray:
    converter = shutil.which("rsvg-convert")
    if converter is None:
        pytest.fail("needs rsvg-convert (Debian's package librsvg2-bin)")
    return pixels(subprocess.run([converter], input=svg.encode(), stdout=subprocess.PIPE, check=True).stdout)


def with_cairosvg(svg: str) -> np.ndarray:
    return pixels(importlib.import_module("cairosvg").svg2png(bytestring=svg.encode()))


@pytest.mark.parametrize("convert", [with_librsvg, with_cairosvg])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_looks_the_same_everywhere(drawings, in_browser, kind, convert):
    seen = in_browser(drawings[kind], 1000)
    assert seen.min() < 100  # not an empty picture
    assert difference(seen, convert(drawings[kind])) < _TOLERANCE


@pytest.mark.parametrize("convert", [with_librsvg, with_cairosvg])
def test_the_comparison_sees_what_is_missing(drawings, in_browser, convert):
    """Colours that only a style sheet gives, one curve of another colour, and letters that are gone."""
    svg = drawings["curves"]
    seen = in_browser(svg, 1000)
    for broken in (
        svg.replace('fill="#', 'data-fill="#'),
        svg.replace('stroke="#0064c8"', 'stroke="#cf480c"'),
        svg.replace('id="glyph-', 'id="gone-'),
    ):
        assert broken != svg
        assert difference(seen, convert(broken)) > 2 * _TOLERANCE
