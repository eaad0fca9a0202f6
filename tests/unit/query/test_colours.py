"""The colours of both themes: text can be read, by the contrast that WCAG AA asks for."""

import re
from itertools import product

import pytest

from services.query.dashboard.render import assets

SURFACES = ("bg", "surface", "sunken")
TEXTS = ("text", "muted", "accent", "positive", "negative", "neutral")
PAIRS = [
    *product(TEXTS, SURFACES),
    ("accent", "accent-soft"),
    ("positive", "positive-soft"),
    ("negative", "negative-soft"),
    ("neutral", "neutral-soft"),
    ("text", "flash"),
]
LINES = [(f"series-{number}", "surface") for number in range(1, 7)]


def colours(theme: int) -> dict[str, str]:
    """Return the colours of the light theme (0) or the dark one (1) by name."""
    text = assets()["afterword.css"].content.decode()
    found = re.findall(r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", text)
    return {name: both[theme] for name, *both in found}


def luminance(colour: str) -> float:
    """Return the relative luminance of `#rrggbb`."""
    channels = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_can_be_read(text: str, ground: str, theme: int) -> None:
    """4.5 to 1, also where it is small."""
    found = colours(theme)
    assert contrast(found[text], found[ground]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("line", "ground"), LINES)
def test_lines_of_charts_can_be_seen(line: str, ground: str, theme: int) -> None:
    """3 to 1, as for any shape that means something."""
    found = colours(theme)
    assert contrast(found[line], found[ground]) >= 3


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_the_main_button_can_be_read(theme: int) -> None:
    """White on the accent."""
    assert contrast(colours(theme)["accent-solid"], "#ffffff") >= 4.5
