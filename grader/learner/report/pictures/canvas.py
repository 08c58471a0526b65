"""Draw with matplotlib, and turn what it writes into an SVG that a page can hold.

Colours are names: the page says what they look like, in light, in dark and on paper. Text stays
text in the page's own font. Nothing refers to anything outside, and the ids of one picture are
those of no other.
"""

from __future__ import annotations

import io
import logging
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#010101", "#020202", "#030303", "#040404"
BLUE, ORANGE, GREEN, VIOLET = "#050505", "#060606", "#070707", "#080808"
WIDTH = 400.0
"""How wide every picture is, in units of which text has 12: readable on a phone."""

_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    PAPER: "var(--card)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
    VIOLET: "var(--violet)",
}
_STYLES = Path(__file__).parents[1] / "templates" / "report.css"
_TEXT_SIZE = 12
_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": _TEXT_SIZE,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": _TEXT_SIZE,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "font.size": _TEXT_SIZE,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": _TEXT_SIZE,
    "legend.handlelength": 1.5,
    "legend.labelcolor": INK,
    "lines.linewidth": 2,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": _TEXT_SIZE - 1,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": _TEXT_SIZE - 1,
}
_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_HREF = f"{{{_LINK}}}href"
_COLOUR = re.compile("|".join(_VARIABLES))
_FONT = re.compile(r"font: (?:(\S+) )?(\d+(?:\.\d+)?)px [^;]+")
_FONT_FAMILY = re.compile(r"font-family: [^;]+;?")
_REFERENCE = re.compile(r"url\(#")
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

# Not worth a word on the learner's terminal: that a cache of fonts is built, or cannot be.
logging.getLogger("matplotlib").setLevel(logging.ERROR)


def drawn(name: str, height: float, draw: Callable[[Figure], str]) -> tuple[str, str]:
    """The SVG of what a function draws on a figure, and what the function returns.

    `name` begins every id in it; `height` is in the units of WIDTH.
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    # The words in a drawing are English in every language: matplotlib finds their places by fonts
    # of this machine, of which none may know Chinese. The title and the caption say it in words.
    text = io.StringIO()
    with matplotlib.style.context([_STYLE | {"svg.hashsalt": name}], after_reset=True):
        figure = Figure(figsize=(WIDTH / 72, height / 72))
        said = draw(figure)
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator"), None))
    return _for_a_page(text.getvalue(), name), said


def for_a_lesson(svg: str) -> str:
    """An element of a page as a file of its own, in light colours: a lesson is no page of ours."""
    light, _, _ = _STYLES.read_text(encoding="utf-8").partition("}")  # the page's own, first rule
    style = (
        f"<style>{light}}} svg {{ background: white; font-family: sans-serif; }} "
        "* { stroke-linejoin: round; stroke-linecap: butt; }</style>"
    )
    head, bracket, rest = svg.partition(">")
    return f"{head}{bracket}{style}{rest}\n"


def _for_a_page(svg: str, name: str) -> str:
    """An SVG file as an element of a page."""
    root = ET.fromstring(svg)
    for parent in root.iter():
        for sheet in parent.findall(f"{{{_SVG}}}style"):
            parent.remove(sheet)  # it would hold for the whole page, which has the same rule
        for metadata in parent.findall(f"{{{_SVG}}}metadata"):
            parent.remove(metadata)
    for element in root.iter():
        _rename(element, name)
        for key, value in element.attrib.items():
            element.set(key, _COLOUR.sub(lambda found: _VARIABLES[found[0]], value))
        if style := element.get("style"):
            element.set("style", _FONT_FAMILY.sub("", _FONT.sub(_font, style)))
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.set("aria-hidden", "true")  # the page says in words what it shows
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _LINK)
    return ET.tostring(root, encoding="unicode")


def _rename(element: ET.Element, name: str) -> None:
    """Put the picture's name before an id and before all that refers to one."""
    if element.tag == f"{{{_SVG}}}g":
        element.attrib.pop("id", None)  # nothing refers to a group
    if "id" in element.attrib:
        element.set("id", f"{name}-{element.get('id')}")
    if _HREF in element.attrib:
        element.set(_HREF, f"#{name}-{element.attrib[_HREF].removeprefix('#')}")
    for key, value in element.attrib.items():
        element.set(key, _REFERENCE.sub(f"url(#{name}-", value))


def _font(found: re.Match[str]) -> str:
    """A font's weight and size, without its family, which is the page's."""
    weight = f"font-weight: {found[1]}; " if found[1] else ""
    return f"{weight}font-size: {found[2]}px"


def power_of_ten(value: float, _: object = None) -> str:
    """A tick's label on a logarithmic axis: 10⁻³."""
    exponent = f"{math.log10(value):.0f}" if value > 0 else "?"
    return {"0": "1", "1": "10"}.get(exponent, f"10{exponent.translate(_SUPERSCRIPTS)}")


def about(value: float) -> str:
    """A number in a sentence: "0", "1.4", "3 × 10⁻⁸"."""
    if value == 0 or 0.01 <= abs(value) < 10_000:
        return f"{value:.3g}"
    mantissa, _, exponent = f"{value:.0e}".partition("e")
    power = f"10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    return f"{mantissa}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}{power}"
