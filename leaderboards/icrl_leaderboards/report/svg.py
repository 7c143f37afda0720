"""matplotlib's SVG made fit for a page: no inline styles (the page's security policy forbids them), colours by class so that
dark mode can change them, ids of its own, and a text alternative."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from icrl_leaderboards.report.curves import COLOURS
from icrl_leaderboards.report.plots import GRID_COLOUR, MUTED_COLOUR, TEXT_COLOUR

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "{http://www.w3.org/1999/xlink}href"
_DROPPED = ("metadata", "style", "title", "desc")
_FONT_SIZE = re.compile(r"([\d.]+)px")
_ID_USE = re.compile(r"url\(#([^)]+)\)")
#: Colours of the drawing and the class that carries their meaning on the page.
_CLASSES = {TEXT_COLOUR: "ink", MUTED_COLOUR: "muted", GRID_COLOUR: "grid"} | {
    light: f"line-{index}" for index, (light, _) in enumerate(COLOURS) if light != TEXT_COLOUR
}


def for_page(document: str, name: str, title: str, description: str) -> str:
    """The `<svg>` element of `document` for an HTML page; `name` begins all of its ids."""
    root = ElementTree.fromstring(document)  # our own drawing, made a moment ago
    _drop(root)
    for element in root.iter():
        _style_to_attributes(element)
        _rename_ids(element, name)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib |= {"role": "img", "aria-labelledby": f"{name}-title {name}-desc", "class": "plot"}
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{tag}"})
        element.text = text
        root.insert(position, element)
    ElementTree.register_namespace("", _SVG)
    return ElementTree.tostring(root, encoding="unicode")


def _drop(element: ElementTree.Element) -> None:
    for child in list(element):
        if child.tag.rpartition("}")[2] in _DROPPED:
            element.remove(child)
        else:
            _drop(child)


def _style_to_attributes(element: ElementTree.Element) -> None:
    classes = []
    for declaration in element.attrib.pop("style", "").split(";"):
        key, colon, value = (part.strip() for part in declaration.partition(":"))
        if not colon:
            continue
        if key == "font":
            size = _FONT_SIZE.search(value)
            if size:
                element.set("font-size", size.group(1))
        else:
            element.set(key, value)
    for key in ("fill", "stroke"):
        name = _CLASSES.get(element.get(key, "").lower())
        if name:
            classes.append(f"{key}-{name}")
    if element.tag == f"{{{_SVG}}}text" and not element.get("fill"):
        classes.append("fill-ink")
    if classes:
        element.set("class", " ".join(classes))


def _rename_ids(element: ElementTree.Element, name: str) -> None:
    if "id" in element.attrib:
        element.set("id", f"{name}-{element.get('id')}")
    target = element.attrib.pop(_XLINK, None)
    if target is not None:
        element.set("href", f"#{name}-{target.removeprefix('#')}")
    for key, value in element.attrib.items():
        if "url(#" in value:
            element.set(key, _ID_USE.sub(rf"url(#{name}-\1)", value))
