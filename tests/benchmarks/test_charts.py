"""Charts are XML, as long as their numbers, and readable on light pages and dark ones."""

import xml.etree.ElementTree as ElementTree

import pytest

from benchmarks.charts import SERIES, WORDS, Group, chart

SVG = "{http://www.w3.org/2000/svg}"
LIGHT, DARK = "#ffffff", "#0d1117"


def drawn(*groups: Group, series: tuple[str, ...] = ("one", "two")) -> ElementTree.Element:
    return ElementTree.fromstring(chart("A & B", series, groups, mark=1))


def test_bars_are_as_long_as_their_values() -> None:
    root = drawn(Group("x < y", [1.0, 4.0], ["1 x", "4 x"]), Group("z", [None, 2.0], ["", "2 x"]))
    bars = [float(bar.attrib["width"]) for bar in root.iter(f"{SVG}rect") if bar.find(f"{SVG}title") is not None]
    assert bars == [pytest.approx(bars[1] / 4, abs=0.1), bars[1], pytest.approx(bars[1] / 2, abs=0.1)]


def test_all_of_it_lies_within_its_frame() -> None:
    root = drawn(*(Group(f"group {number}", [number, 9.0], ["a", "b"]) for number in range(1, 9)))
    width, height = (float(root.attrib[side]) for side in ("width", "height"))
    for bar in root.iter(f"{SVG}rect"):
        assert float(bar.attrib["x"]) + float(bar.attrib["width"]) <= width
        assert float(bar.attrib["y"]) + float(bar.attrib["height"]) <= height


def test_words_are_said_as_they_are() -> None:
    root = drawn(Group("x < y", [1.0, 2.0], ["1 x", "2 x"]))
    assert {"A & B", "x < y", "1 x", "2 x", "one", "two"} <= {text.text for text in root.iter(f"{SVG}text")}


def test_one_series_needs_no_legend() -> None:
    root = drawn(Group("x", [1.0], ["1 x"]), series=("one",))
    assert "one" not in {text.text for text in root.iter(f"{SVG}text")}


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero"):
        chart("title", ["one"], [Group("x", [None], [""])])


@pytest.mark.parametrize("page", [LIGHT, DARK])
def test_colours_stand_off_from_light_and_dark(page: str) -> None:
    """Source of the bounds: WCAG 2.1, 1.4.11, and for words nearly 1.4.3, whose 4.5 no colour has on both."""
    assert all(contrast(colour, page) >= 3 for colour in SERIES)
    assert contrast(WORDS, page) >= 4.2


def contrast(one: str, other: str) -> float:
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
