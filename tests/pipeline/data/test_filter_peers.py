"""Our filters and datatrove's blocks, given the same words, decide alike on every text."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from datatrove.data import Document
from datatrove.pipeline.filters.c4_filters import C4QualityFilter
from datatrove.pipeline.filters.fineweb_quality_filter import FineWebQualityFilter
from datatrove.pipeline.filters.gopher_quality_filter import GopherQualityFilter
from datatrove.pipeline.filters.gopher_repetition_filter import GopherRepetitionFilter
from datatrove.pipeline.formatters.pii import PIIFormatter

from benchmarks.phases.extract import our_words
from pipeline.data.filters.c4 import Config as C4Quality
from pipeline.data.filters.fineweb import Config as FineWeb
from pipeline.data.filters.gopher_quality import Config as GopherQuality
from pipeline.data.filters.gopher_repetition import Config as GopherRepetition
from pipeline.data.filters.pii import Config as Pii

WORDS = our_words()
PAIRS = {
    "gopher_repetition": (GopherRepetition(), GopherRepetitionFilter(language=WORDS)),
    "gopher_quality": (GopherQuality(marks_are_words=True), GopherQualityFilter(language=WORDS)),
    "c4": (C4Quality(), C4QualityFilter(language=WORDS)),
    "c4 as in FineWeb": (
        C4Quality(end_punctuation=False),
        C4QualityFilter(filter_no_terminal_punct=False, language=WORDS),
    ),
    "fineweb": (FineWeb(), FineWebQualityFilter(language=WORDS)),
}
ENDS = [".", ".", ".", "", "!", ",", "...", "…", '."', "?”", " [1].", "。"]
ODD = [
    *("lorem ipsum dolor", "our privacy policy", "javascript is off", "we use cookies here", "{ }", "# #"),
    *(
        "• an item of the list",
        "- another item of it",
        "* * *",
        "1999 2000 2001",
        "x" * 1001,
        "the and of to",
    ),
]


def random_texts(count: int) -> list[str]:
    """Return texts from almost no to heavy repetition, with all that the rules look for."""
    chance = random.Random(7)
    texts = []
    for number in range(count):
        vocabulary = [
            f"{chance.choice('wxyz') * chance.randint(1, 9)}{index}"
            for index in range(8 + 40 * (number % 20))
        ]
        vocabulary += ["the", "of", "and", "with", "house", "river"] * (number % 5)
        lines = [
            " ".join(chance.choices(vocabulary, k=chance.randint(1, 30))) + chance.choice(ENDS)
            for _ in range(chance.randint(2, 30))
        ]
        lines += chance.choices(lines, k=chance.choice([0, 0, 0, 1, 4]))
        lines += chance.choices(ODD, k=chance.choice([0, 0, 0, 1]))
        chance.shuffle(lines)
        texts.append("".join(line + chance.choice(["\n", "\n\n"]) for line in lines).strip())
    return texts


def ours(config: Any, text: str) -> str | None:
    """Return the text that is left, or None."""
    document = Document(text=text, id="0")
    return document.text if config.judge(document) is None else None


def theirs(block: Any, text: str) -> str | None:
    document = Document(text=text, id="0")
    return document.text if block.filter(document) is True else None


@pytest.mark.parametrize("name", PAIRS)
def test_the_same_texts_stay_and_look_the_same(name: str):
    config, block = PAIRS[name]
    texts = random_texts(300)

    kept = [ours(config, text) for text in texts]

    assert kept == [theirs(block, text) for text in texts]
    assert 20 < sum(text is not None for text in kept) < 280


@pytest.mark.real_data
@pytest.mark.parametrize("name", PAIRS)
def test_on_real_texts_at_least_999_of_1000_decisions_are_the_same(name: str, real_data: Path):
    config, block = PAIRS[name]
    texts = list(real_texts(real_data))

    same = sum(ours(config, text) == theirs(block, text) for text in texts)

    assert len(texts) > 1500
    assert same / len(texts) >= 0.999


def real_texts(folder: Path) -> Iterator[str]:
    """Yield summaries of Wikipedia, pages of a novel, and web pages as Dolma's tests hold them."""
    for line in (folder / "text" / "wiki_vital_summaries.jsonl").read_bytes().splitlines()[:800]:
        yield max((value for value in orjson.loads(line).values() if isinstance(value, str)), key=len)
    novel = (folder / "text" / "warandpeace.txt").read_text()
    yield from (novel[start : start + 4000] for start in range(0, len(novel), 4000))
    for path in sorted((folder / "web" / "warc" / "dolma").rglob("*.jsonl")):
        yield from (orjson.loads(line)["text"] for line in path.read_bytes().splitlines())


@pytest.mark.parametrize(
    "text",
    [
        "Mail joe@x.org, ann.lee@mail.example.co.uk or <bob_1+list@a-b.net>.",
        "Hosts 8.8.8.8 and 1.1.1.1 answer; 10.0.0.1, 192.168.1.1 and 127.0.0.1 are at home.",
        "No name@host, no 1.2.3, nothing at 5 @ 3.",
    ],
)
def test_the_same_personal_data_is_found(text: str):
    masks = PIIFormatter(email_replacement="email@example.com", ip_replacement="192.0.2.1")
    document = Document(text=text, id="0")

    Pii().build().filter(document)

    assert document.text == masks.format(text)
