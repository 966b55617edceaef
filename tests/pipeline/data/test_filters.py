"""Every filter against its own examples, and ours against datatrove's blocks where the rules are the same."""

import random
from typing import Any

import pytest
from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.filters.fineweb_quality_filter import FineWebQualityFilter
from datatrove.pipeline.filters.gopher_repetition_filter import GopherRepetitionFilter
from datatrove.utils.word_tokenizers import WordTokenizer

from pipeline.config import Kind
from pipeline.data import filter as phase_filter
from pipeline.data.documents import TaskOutput, document_files, read_documents
from pipeline.data.filters.fineweb import Config as FineWeb
from pipeline.data.filters.gopher_quality import Config as GopherQuality
from pipeline.data.filters.gopher_repetition import Config as GopherRepetition
from pipeline.data.filters.language import Config as Language
from pipeline.data.filters.language import sample
from pipeline.data.filters.length import Config as Length
from pipeline.data.rule import Guarded
from pipeline.data.words import split_words
from tests.pipeline.data.conftest import document, write_files

KIND = Kind("pipeline.data.filters")
KEEPS = [
    (name, text) for name in KIND.names() for text in __import__(f"{KIND.folder}.{name}", fromlist="x").KEEPS
]
DROPS = [
    (name, text, reason)
    for name in KIND.names()
    for text, reason in __import__(f"{KIND.folder}.{name}", fromlist="x").DROPS
]


def verdict(step: BaseFilter, text: str) -> bool | tuple[bool, str]:
    found: bool | tuple[bool, str] = step.filter(Document(text=text, id="0"))
    return found


@pytest.mark.parametrize(("name", "text"), KEEPS)
def test_a_filter_keeps_its_good_example(name: str, text: str):
    assert verdict(KIND.config(name)().build(), text) is True


@pytest.mark.parametrize(
    ("name", "text", "reason"), DROPS, ids=[f"{name}-{reason}" for name, _, reason in DROPS]
)
def test_a_filter_drops_its_bad_example_for_the_stated_reason(name: str, text: str, reason: str):
    assert verdict(KIND.config(name)().build(), text) == (False, reason)


@pytest.mark.parametrize("name", KIND.names())
@pytest.mark.parametrize("text", ["\n", "x", "{", "...", "\u3000", "1\n\n\n2"])
def test_no_filter_fails_on_a_tiny_text(name: str, text: str):
    KIND.config(name)().build().filter(Document(text=text, id="0"))


class OurWords(WordTokenizer):
    def word_tokenize(self, text: str) -> list[str]:
        return list(split_words(text))

    def sent_tokenize(self, text: str) -> list[str]:
        raise NotImplementedError

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        raise NotImplementedError


def random_texts(count: int) -> list[str]:
    """Return texts from almost no to heavy repetition, with lines, paragraphs and punctuation."""
    chance = random.Random(7)
    texts = []
    for number in range(count):
        vocabulary = [f"w{index}" for index in range(4 + 12 * (number % 20))]
        lines = [
            " ".join(chance.choices(vocabulary, k=chance.randint(1, 12))) + chance.choice([".", "", "!", ","])
            for _ in range(chance.randint(2, 30))
        ]
        lines += chance.choices(lines, k=chance.randint(0, 4))
        texts.append("".join(line + chance.choice(["\n", "\n\n"]) for line in lines).strip())
    return texts


def test_repetition_rules_agree_with_datatrove():
    ours, theirs = GopherRepetition().build(), GopherRepetitionFilter(language=OurWords())
    texts = random_texts(400)

    verdicts = [verdict(ours, text) is True for text in texts]

    assert verdicts == [verdict(theirs, text) is True for text in texts]
    assert 40 < sum(verdicts) < 360


def test_fineweb_rules_agree_with_datatrove():
    ours = FineWeb(max_newlines_per_word=1e9).build()
    theirs = FineWebQualityFilter(language=OurWords(), new_line_ratio=1e9)
    texts = random_texts(400)

    verdicts = [verdict(ours, text) is True for text in texts]

    assert verdicts == [verdict(theirs, text) is True for text in texts]
    assert 10 < sum(verdicts) < 390


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (GopherQuality(min_words=7), "few_words"),
        (GopherQuality(min_words=6), None),
        (Length(min_words=8), "short"),
    ],
)
def test_a_threshold_is_a_bound_that_is_still_allowed(config: Any, reason: str | None):
    assert config.judge(Document(text="the end of all that follows .", id="0")) == reason


def test_a_long_text_is_judged_by_windows_from_all_over_it():
    text = "".join(f"{number:06d} " for number in range(20_000))

    words = sample(text).split()

    assert len(sample(text)) < 1100
    assert words[0] == "000000"
    assert words[-1] == "019999"


def test_the_language_and_its_probability_are_noted():
    kept = Document(
        text="The river flows through the valley and into the wide sea, where the ships wait.", id="0"
    )

    assert Language().judge(kept) is None
    assert kept.metadata["language"] == "en"
    assert kept.metadata["language_score"] > 0.9


class Explosive(BaseFilter):
    def filter(self, doc):
        raise ZeroDivisionError("one bad document")


def test_a_document_that_a_filter_fails_on_is_dropped_and_the_others_go_on(tmp_path):
    output = TaskOutput(tmp_path / "kept", tmp_path / "dropped", tmp_path / "counts")

    kept = list(Guarded("explosive", Explosive(), output).run([document("a", "text")]))
    output.publish()

    assert kept == []
    assert output.reasons == {"explosive.error": 1}
    [dropped] = read_documents(tmp_path / "dropped" / "explosive.error" / "00000.jsonl.zst")
    assert dropped.metadata["detail"] == "ZeroDivisionError: one bad document"


def test_the_phase_keeps_rejects_under_filter_and_reason(tmp_path, phase):
    good = (
        "The river rises in the hills and flows to the sea with all of the rain that falls on the way. " * 8
    )
    write_files(tmp_path / "in", {"00000": [document("a", good), document("b", "Too short.")], "00001": []})

    counts = phase_filter.run([Language(min_score=0.0), Length()], phase("filter"))

    assert (counts.documents_in, counts.documents_out, counts.dropped) == (2, 1, {"length.short": 1})
    assert [
        each.metadata["language"]
        for file in document_files(tmp_path / "kept")
        for each in read_documents(file)
    ] == ["en"]
    [rejected] = read_documents(tmp_path / "dropped" / "filter" / "length.short" / "00000.jsonl.zst")
    assert rejected.text == "Too short."
