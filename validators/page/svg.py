"""A Matplotlib figure as SVG that stands in a page: without styles, scripts and names of its own.

Colours that mean something are written as classes, so that a page's style says what they are on light and on dark
paper; all else that Matplotlib says in `style` becomes an attribute, since a page that forbids foreign styles forbids
those too (https://www.w3.org/TR/CSP3/#directive-style-src).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Stand-ins that no figure would have otherwise, and the classes that they become.
INK, FAINT, SERIES, LIMIT, BAD = "#010203", "#010204", "#010205", "#010206", "#010207"
_CLASSES = {INK: "ink", FAINT: "faint", SERIES: "series", LIMIT: "limit", BAD: "bad"}
_SIZE = 8.5

_SETTINGS = {
    "svg.fonttype": "none",
    # The same figure gives the same bytes.
    "svg.hashsalt": "soundport",
    "image.composite_image": False,
    # A dollar sign in a word is no formula.
    "text.parse_math": False,
    "font.size": _SIZE,
    "axes.titlesize": _SIZE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "grid.linewidth": 0.5,
    "grid.color": FAINT,
    "grid.alpha": 1.0,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}


@contextmanager
def drawing() -> Iterator[None]:
    """Matplotlib as it comes, whatever the user's own settings are, with those of a page; restored at the end."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)  # type: ignore[arg-type]
        yield


def markup(figure: Figure, name: str, words: str) -> Markup:
    """The figure as one `svg` element; `words` say to those who cannot see it what it shows.

    `name` is its own in the page: what it refers to within itself begins so.
    """
    FigureCanvasSVG(figure)
    buffer = StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    box = root.get("viewBox", "")
    for element in list(root):
        if _local(element.tag) == "metadata" or _is_style(element):
            root.remove(element)
    _clean(root, f"{name}-")
    root.attrib = {"class": "chart", "viewBox": box, "role": "img", "aria-label": words}
    return Markup(ElementTree.tostring(root, encoding="unicode", short_empty_elements=True))


def _local(tag: object) -> str:
    return str(tag).rpartition("}")[2]


def _is_style(element: ElementTree.Element) -> bool:
    return _local(element.tag) == "defs" and any(_local(child.tag) == "style" for child in element)


def _clean(root: ElementTree.Element, prefix: str) -> None:
    """Local names, attributes for styles, and of all ids those alone that something in this figure refers to."""
    references = {
        value.strip("url(#)")
        for element in root.iter()
        for name, value in element.attrib.items()
        if _local(name) in ("href", "clip-path") and "#" in value[:5]
    }
    for element in root.iter():
        element.tag = _local(element.tag)
        element.tail = None if element.tail is None or not element.tail.strip() else element.tail
        found: dict[str, str] = {}
        classes: list[str] = []
        for name, value in element.attrib.items():
            local = _local(name)
            if local == "id":
                if value in references:
                    found["id"] = prefix + value
            elif local == "style":
                _styled(value, found, classes)
            elif local in ("href", "clip-path") and "#" in value[:5]:
                found[local] = value.replace("#", f"#{prefix}", 1)
            elif local == "d":
                found[local] = " ".join(value.split())
            else:
                found[local] = value
        if classes:
            found["class"] = " ".join(classes)
        element.attrib = found


def _styled(style: str, found: dict[str, str], classes: list[str]) -> None:
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if value in _CLASSES and name in ("fill", "stroke"):
            classes.append(f"{name}-{_CLASSES[value]}")
        elif name and name not in ("font-family", "font", "image-rendering"):
            found[name] = value
