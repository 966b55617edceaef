"""The report's colours: a sentinel for each in figures, its CSS variable, and its value by light and dark.

Figures are drawn with the sentinels; `figure` replaces them by the variables, so one drawing serves both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Colour:
    """A colour of the page: `sentinel` stands for it while matplotlib draws."""

    name: str
    sentinel: str
    light: str
    dark: str

    @property
    def variable(self) -> str:
        """Return how CSS speaks of it."""
        return f"var(--{self.name})"


# Paper and ink; the accent is kept for what the reader should see first.
PAPER = Colour("paper", "#fe0101", "#fdfcfa", "#16171a")
INK = Colour("ink", "#fe0102", "#1c1b19", "#e4e1da")
MUTED = Colour("muted", "#fe0103", "#66625a", "#9c988e")
RULE = Colour("rule", "#fe0104", "#dcd8cf", "#35363a")
ACCENT = Colour("accent", "#fe0105", "#a3320b", "#f2955c")
SECOND = Colour("second", "#fe0106", "#1d5c8f", "#7db6e3")
SOFT = Colour("soft", "#fe0107", "#f4f1ea", "#1f2024")
BAR = Colour("bar", "#fe0108", "#8096ab", "#56697d")
# Steps of matplotlib's `plasma`, whose order colour-blind readers see too, without the end near the paper.
_LIGHT = [
    "#ea7457",
    "#de6164",
    "#cf4c74",
    "#bd3786",
    "#a82296",
    "#8f0da4",
    "#7401a8",
    "#5801a4",
    "#3a049a",
    "#1b068d",
]
_DARK = [
    "#a82296",
    "#bd3786",
    "#cf4c74",
    "#de6164",
    "#ec7754",
    "#f48849",
    "#fa9b3d",
    "#fdb130",
    "#fcc826",
    "#f4e156",
]
_RANKS = [
    Colour(f"rank-{n}", f"#fe02{n:02x}", light, dark)
    for n, (light, dark) in enumerate(zip(_LIGHT, _DARK, strict=True))
]
COLOURS: Sequence[Colour] = (PAPER, INK, MUTED, RULE, ACCENT, SECOND, SOFT, BAR, *_RANKS)


def ranked(count: int) -> list[Colour]:
    """Return a colour for each of `count` ordered things, from the faintest to the strongest."""
    last = len(_RANKS) - 1
    return [_RANKS[round(n * last / (count - 1))] if count > 1 else _RANKS[last] for n in range(count)]


def variables(scheme: str) -> str:
    """Return the CSS declarations of all colours for `light` or `dark`."""
    return "".join(f"--{colour.name}:{getattr(colour, scheme)};" for colour in COLOURS)
