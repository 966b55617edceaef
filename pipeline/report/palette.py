"""The report's colours: a sentinel for each in figures, its CSS variable, and its value by light and dark.

Figures are drawn with the sentinels; `figure` replaces them by the variables, so one drawing serves both. A
figure in a file of its own cannot know its paper: there each colour is one that stands on light and on dark.
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
    both: str  # of middle lightness

    @property
    def variable(self) -> str:
        """Return how CSS speaks of it."""
        return f"var(--{self.name})"


# Paper and ink; the accent is kept for what the reader should see first.
PAPER = Colour("paper", "#fe0101", "#fdfcfa", "#16171a", "none")
INK = Colour("ink", "#fe0102", "#1c1b19", "#e4e1da", "#757575")
MUTED = Colour("muted", "#fe0103", "#66625a", "#9c988e", "#7f7f7f")
RULE = Colour("rule", "#fe0104", "#dcd8cf", "#35363a", "#7f7f7f; stroke-opacity: 0.3")  # lines only
ACCENT = Colour("accent", "#fe0105", "#a3320b", "#f2955c", "#d55e00")  # with SECOND, of Okabe and Ito's
SECOND = Colour("second", "#fe0106", "#1d5c8f", "#7db6e3", "#0a7bc2")
THIRD = Colour("third", "#fe0109", "#5d6d12", "#b9c46b", "#7d8f1e")
SOFT = Colour("soft", "#fe0107", "#f4f1ea", "#1f2024", "none")
BAR = Colour("bar", "#fe0108", "#8096ab", "#56697d", "#708599")
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
_BOTH = [
    "#f07f4f",
    "#e76f5a",
    "#de6164",
    "#d5546e",
    "#ca457a",
    "#bd3786",
    "#b12a90",
    "#a31e9a",
    "#9511a1",
    "#8606a6",
]
_RANKS = [
    Colour(f"rank-{n}", f"#fe02{n:02x}", light, dark, both)
    for n, (light, dark, both) in enumerate(zip(_LIGHT, _DARK, _BOTH, strict=True))
]
COLOURS: Sequence[Colour] = (PAPER, INK, MUTED, RULE, ACCENT, SECOND, THIRD, SOFT, BAR, *_RANKS)


def ranked(count: int) -> list[Colour]:
    """Return a colour for each of `count` ordered things, from the faintest to the strongest."""
    last = len(_RANKS) - 1
    return [_RANKS[round(n * last / (count - 1))] if count > 1 else _RANKS[last] for n in range(count)]


def variables(scheme: str) -> str:
    """Return the CSS declarations of all colours for `light` or `dark`."""
    return "".join(f"--{colour.name}:{getattr(colour, scheme)};" for colour in COLOURS)
