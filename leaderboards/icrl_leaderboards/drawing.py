"""The one style of every picture, and the one way to write it: SVG, PDF or PNG, the same bytes for the same input.

matplotlib draws, through its `Figure` and never through pyplot, which keeps global state; it is imported only when something
is drawn. An SVG is made to look the same everywhere: letters are outlines, colours are literal presentation attributes, and
nothing depends on a style sheet. A style sheet may still override the attributes, and `dark_style` does so for a dark ground:
a program that knows no media queries shows the light picture.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icrl_leaderboards.wording.text import visible
from icrl_registry.errors import UsageError
from icrl_registry.files import replace_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Colours on a light and on a dark ground. Any two differ for eyes without one of the three kinds of cones too, and each has
#: a contrast of at least 4.5 : 1 to its ground, since names are written in them; tests hold both.
COLOURS = (
    ("#0064c8", "#4f9ff7"),  # blue
    ("#cf480c", "#d97a3a"),  # vermilion
    ("#08704f", "#4ff0a0"),  # green
    ("#bf2f9c", "#f050b0"),  # magenta
    ("#5a3a00", "#ecd024"),  # brown, yellow
    ("#1d2733", "#f2f4f8"),  # ink
    ("#850eff", "#dfb8fb"),  # violet
    ("#490572", "#9b7967"),  # plum, umber
    ("#2f08af", "#b2fe80"),  # indigo, lime
)
#: Shades of one hue for the values of one setting, from the smallest to the largest, on a light and on a dark ground.
SHADES = (
    ("#7fadd1", "#2f5f86"),
    ("#5b97c4", "#3b77a6"),
    ("#3481b6", "#4b90c3"),
    ("#14699f", "#69aadb"),
    ("#0b517e", "#94c6ec"),
    ("#073756", "#c6e3f8"),
)
#: What is no curve: each has a colour of its own, by which a dark page finds it.
GROUND, INK, MUTED, GRID, AXIS = "#ffffff", "#1d2734", "#5b6673", "#e3e7ec", "#98a2ad"
_ROLES = {
    "ground": (GROUND, "#12161c"),
    "ink": (INK, "#e8ecf1"),
    "muted": (MUTED, "#9aa6b4"),
    "grid": (GRID, "#2a323d"),
    "axis": (AXIS, "#5d6977"),
}
_SERIES = (("line", COLOURS), ("shade", SHADES))
FORMATS = (".svg", ".pdf", ".png")
FONT_SIZE = 9.0  # points
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n'
_DECIMAL = re.compile(r"-?\d+\.\d+(e-\d+)?")
_REFERENCE = re.compile(r"(?<=#)[^)]+")

ElementTree.register_namespace("", _SVG)
ElementTree.register_namespace("xlink", _XLINK)


def palette() -> list[tuple[str, str, str]]:
    """Name, colour on a light ground and on a dark one, of everything that may be drawn."""
    numbered = [(f"{name}-{index}", pair) for name, pairs in _SERIES for index, pair in enumerate(pairs)]
    return [(name, *pair) for name, pair in [*_ROLES.items(), *numbered]]


@contextmanager
def drawing_style(font: str | None = None) -> Iterator[None]:
    """Everything inside is drawn in the style of the project, whatever the user's own settings of matplotlib are."""
    import matplotlib
    from cycler import cycler

    ours: Any = {
        "font.family": [*([font] if font else []), "DejaVu Sans"],
        "font.size": FONT_SIZE,
        "text.parse_math": False,  # a name with dollars is a name
        "text.color": INK,
        "axes.edgecolor": AXIS,
        "axes.labelcolor": MUTED,
        "axes.titlesize": FONT_SIZE,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.prop_cycle": cycler(color=[light for light, _ in COLOURS]),
        "grid.color": GRID,
        "grid.linewidth": 0.75,
        "xtick.color": AXIS,
        "ytick.color": AXIS,
        "xtick.labelcolor": MUTED,
        "ytick.labelcolor": MUTED,
        "lines.linewidth": 1.5,
        "lines.markersize": 4.0,
        "lines.scale_dashes": False,
        "legend.frameon": False,
        "figure.facecolor": GROUND,
        "svg.hashsalt": "icrl-bench",
        "svg.fonttype": "path",
        "pdf.fonttype": 42,
    }
    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a name in a script that the font lacks
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(ours)
        yield


def save(figure: Figure, path: Path | str, labels: tuple[str, str] | None = None, series: Sequence[str] = ()) -> None:
    """Writes a picture, in the format that the file's name ends in; call it within `drawing_style`.

    An SVG has `labels` and `series` as in `to_svg`.

    Raises:
        UsageError: no such format, or the file cannot be written.
    """
    path = Path(path)
    require_format(path)
    if path.suffix == ".svg":
        content = f"{_DECLARATION}{to_svg(figure, path.stem, labels, series)}".encode()
    else:
        buffer = io.BytesIO()
        metadata = {"CreationDate": None} if path.suffix == ".pdf" else None
        figure.savefig(buffer, format=path.suffix[1:], dpi=200, metadata=metadata)
        content = buffer.getvalue()
    write(path, content)


def write(path: Path, content: bytes) -> None:
    """Writes a picture's file, or one beside it; an older one stays where that fails.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", "give a path that can be written") from error


def require_format(path: Path) -> None:
    """Refuses a name that ends in no format of a picture, before any work is done for it.

    Raises:
        UsageError: with the endings that there are.
    """
    if path.suffix not in FORMATS:
        raise UsageError(f"cannot write {path}: no picture ends in {path.suffix!r}", "end it in .svg, .pdf or .png")


def to_svg(figure: Figure, name: str, labels: tuple[str, str] | None = None, series: Sequence[str] = ()) -> str:
    """The picture as an SVG document; call it within `drawing_style`.

    Args:
        figure: artists with the gid `series-3` become `<g class="series" data-series="…">` with the fourth of `series`.
        name: what ids begin with.
        labels: title and description, for those who do not see it.
        series: names of what the artists show.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for child in [each for each in root if each.tag == f"{{{_SVG}}}metadata"]:
        root.remove(child)
    used = {each.get(f"{{{_XLINK}}}href", "")[1:] for each in root.iter()}
    for parent in root.iter():
        for child in list(parent):
            if child.tag == f"{{{_SVG}}}style":
                parent.remove(child)
        _make_literal(parent, name, series, used)
    width, height = (float(root.attrib.pop(each).removesuffix("pt")) for each in ("width", "height"))
    root.attrib |= {"class": "plot", "stroke-linejoin": "round", "stroke-linecap": "butt"}
    if labels:
        root.attrib |= {"role": "img", "aria-labelledby": f"{name}-title {name}-desc"}
        for index, (tag, text) in enumerate(zip(("title", "desc"), labels, strict=True)):
            element = ElementTree.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{tag}"})
            element.text = visible(text)
            root.insert(index, element)
    root.attrib |= {"width": f"{width / 0.75:g}", "height": f"{height / 0.75:g}"}
    style = ElementTree.Element(f"{{{_SVG}}}style")
    style.text = dark_style()
    root.insert(0, style)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def glyphs_of(svg: str) -> dict[str, str]:
    """The letters of a document of `to_svg`, by their ids: what a page needs once for all of its pictures."""
    return {found.group(1): found.group(0) for found in re.finditer(r'<path id="(glyph-[^"]+)"[^>]*/>', svg)}


def without_glyphs(svg: str) -> str:
    """A document of `to_svg` for a page that has the letters, of `glyphs_of`, already, and a style sheet of its own."""
    svg = re.sub(r'<path id="glyph-[^"]+"[^>]*/>', "", svg)
    svg = re.sub(r"<style>.*?</style>", "", svg, flags=re.DOTALL)
    return re.sub(r"<defs>\s*</defs>", "", svg).strip()


def dark_style() -> str:
    """A style sheet that overrides the literal colours where a dark ground is preferred."""
    rules = "".join(
        f'[fill="{light}"]{{fill:{dark}}}[stroke="{light}"]{{stroke:{dark}}}' for _, light, dark in palette()
    )
    return f"@media (prefers-color-scheme: dark){{{rules}}}"


def _make_literal(element: ElementTree.Element, name: str, series: Sequence[str], used: set[str]) -> None:
    """Styles become presentation attributes, numbers get the decimals that can be seen, ids the picture's name."""
    element.text = element.tail = None
    for rule in filter(None, element.attrib.pop("style", "").split(";")):
        key, _, value = rule.partition(":")
        element.set(key.strip(), value.strip())
    own = element.get("id", "")
    if own.startswith("series-"):
        element.attrib |= {"class": "series", "data-series": visible(series[int(own[7:])])}
    if own and own not in used and element.tag != f"{{{_SVG}}}clipPath":
        del element.attrib["id"]
    elif own:
        element.set("id", _renamed(own, name))
        for key in ("fill", "stroke"):  # a marker's colours are those of its uses, which a style sheet reaches
            element.attrib.pop(key, None)
    for key, value in element.attrib.items():
        if key in ("clip-path", f"{{{_XLINK}}}href"):
            element.set(key, _REFERENCE.sub(lambda found: _renamed(found.group(), name), value))
        elif key in ("d", "x", "y", "points"):
            element.set(key, _DECIMAL.sub(lambda found: _rounded(found.group(), 2), value).replace("\n", ""))
        elif key == "transform":
            element.set(key, _DECIMAL.sub(lambda found: _rounded(found.group(), 6), value))


def _renamed(name: str, picture: str) -> str:
    """Letters keep their names, which say what they are; everything else belongs to one picture."""
    return f"glyph-{name}" if re.search(r"-[0-9a-f]+$", name) else f"{picture}-{name}"


def _rounded(text: str, decimals: int) -> str:
    return f"{round(float(text), decimals) + 0.0:.{decimals}f}".rstrip("0").rstrip(".")
