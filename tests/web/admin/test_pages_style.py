"""The pages' style sheet and scripts: text stands out from what is behind it, and nothing is fetched from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bootstrapper.web.admin import pages

STATIC = Path(pages.__file__).parent / "static"
SHEET = (STATIC / "admin.css").read_text()
LIGHT, DARK = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))
               for block in re.findall(r":root \{(.*?)\n\s*\}", SHEET, re.DOTALL))  # fmt: skip
TONES = ("good", "busy", "start", "near", "warn", "bad", "idle")
GROUNDS = ("page", "surface", "raised")


def read(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def mix(over: tuple[float, ...], under: tuple[float, ...], share: float) -> tuple[float, ...]:
    return tuple(share * a + (1 - share) * b for a, b in zip(over, under, strict=True))


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """WCAG 2.2's contrast ratio."""

    def light(colour: tuple[float, ...]) -> float:
        linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    brighter, darker = sorted((light(one), light(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def test_the_measure() -> None:
    assert contrast(read("#ffffff"), read("#000000")) == pytest.approx(21)
    assert contrast(read("#767676"), read("#ffffff")) == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_can_be_read(colours: dict[str, str]) -> None:
    """4.5:1, WCAG's AA for text of this size; 3:1 for the edge of a field."""
    for name in ("ink", "soft", "accent"):
        for ground in GROUNDS:
            assert contrast(read(colours[name]), read(colours[ground])) >= 4.5, (name, ground)
    assert contrast(read(colours["accent-ink"]), read(colours["accent"])) >= 4.5
    assert contrast(read(colours["strong-line"]), read(colours["surface"])) >= 3
    for ground in ("added", "removed"):
        assert contrast(read(colours["ink"]), read(colours[ground])) >= 4.5


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_states_can_be_read(colours: dict[str, str]) -> None:
    """A badge is its tone on 9 % of it."""
    for tone in TONES:
        for ground in ("surface", "page"):
            behind = mix(read(colours[tone]), read(colours[ground]), 0.09)
            assert contrast(read(colours[tone]), behind) >= 4.5, (tone, ground)


def test_both_sets_of_colours_are_whole() -> None:
    assert set(LIGHT) == set(DARK)
    assert set(re.findall(r"var\(--([a-z-]+)[,)]", SHEET)) - {"tone", "space", "radius", "mono", "sans"} <= set(LIGHT)


@pytest.mark.parametrize("path", sorted(STATIC.iterdir()), ids=lambda path: path.name)
def test_nothing_is_fetched_from_elsewhere(path: Path) -> None:
    text = path.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "//" not in re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)
    assert "@import" not in text
    assert "url(" not in text
    for word in ("innerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "localStorage"):
        assert word not in text
