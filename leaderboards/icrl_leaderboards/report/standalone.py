"""A figure as an SVG file of its own: with its style sheet, so that it looks right in a README, light and dark."""

from __future__ import annotations

from html import escape

from icrl_leaderboards.report.drawing import Drawing
from icrl_leaderboards.report.figures import Figure
from icrl_leaderboards.report.html import page_style
from icrl_leaderboards.wording.text import shorten

_MARGIN = 14.0
_TITLE = 44.0


def to_file(figure: Figure) -> str:
    """The document. It holds the page's whole style sheet: one look, kept in one place."""
    inner = figure.drawing
    width, height = inner.width + 2 * _MARGIN, inner.height + 2 * _MARGIN + _TITLE
    drawing = Drawing(width, height)
    drawing.parts.append(f"<style>{escape(page_style(), quote=False)}</style>")
    drawing.parts.append(f'<rect width="{width:g}" height="{height:g}" class="ground"/>')
    drawing.text((_MARGIN, _MARGIN + 6), figure.heading, "heading")
    drawing.text((_MARGIN, _MARGIN + 24), shorten(figure.subject, 60), "fill-muted")
    drawing.parts.append(f'<g transform="translate({_MARGIN:g} {_MARGIN + _TITLE:g})">{"".join(inner.parts)}</g>')
    svg = drawing.to_svg(figure.name, figure.title, figure.description)
    return svg.replace("<svg ", f'<svg width="{width:g}" height="{height:g}" ', 1) + "\n"
