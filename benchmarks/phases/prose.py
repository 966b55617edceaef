"""Generated pages that read like English to a filter: sentences of common words, different on every page."""

from __future__ import annotations

import random

NOUNS = """
river hill boat lamp garden letter winter bridge stone market song glass road bell forest wheel teacher window
harbour kitchen story village machine number engine island summer paper doctor question morning answer ticket
blanket candle captain circle corner cousin feather finger hammer journey ladder mirror mountain needle
""".split()  # noqa: SIM905 - one name a line would take a screen
VERBS = """
carries finds leaves paints keeps follows hides mends sells remembers opens closes builds reads moves answers
borrows counts draws enters forgets gathers holds joins lifts measures notices orders
""".split()  # noqa: SIM905
JOINTS = ("while", "because", "until", "before", "although", "and then")


def sentence(chance: random.Random) -> str:
    """Return one sentence."""
    a, b, c, d, e = chance.sample(NOUNS, 5)
    one, other = chance.sample(VERBS, 2)
    return f"The {a} of {b} {one} that {c} {chance.choice(JOINTS)} a {d} {other} to {e}."


def article(number: int, paragraphs: int = 8, sentences: int = 5) -> str:
    """Return the paragraphs of page `number` as HTML, about 3 kB."""
    chance = random.Random(number)
    texts = (" ".join(sentence(chance) for _ in range(sentences)) for _ in range(paragraphs))
    return "".join(f"<p>{text}</p>" for text in texts)
