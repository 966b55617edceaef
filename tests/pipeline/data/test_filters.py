"""Every filter against its own examples, and what the phase makes of their verdicts."""

from pathlib import Path
from typing import Any

import pytest
from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Kind
from pipeline.data import filter as phase_filter
from pipeline.data.documents import TaskOutput, document_files, read_documents
from pipeline.data.filters.c4 import Config as C4Quality
from pipeline.data.filters.gopher_quality import Config as GopherQuality
from pipeline.data.filters.language import Config as Language
from pipeline.data.filters.language import sample
from pipeline.data.filters.length import Config as Length
from pipeline.data.filters.pii import Config as Pii
from pipeline.data.filters.url import Config as Url
from pipeline.data.rule import Guarded
from pipeline.errors import ConfigError
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


def test_c4_leaves_only_the_lines_that_are_sentences():
    text = "Menu\nThe house is old.[1] It was built by a sailor.\nPlease enable JavaScript now.\nThe end"
    kept = Document(text=text, id="0")

    assert C4Quality(min_sentences=2).judge(kept) is None
    assert kept.text == "The house is old. It was built by a sailor."


def at(url: str) -> Document:
    return Document(text="text", id="0", metadata={"canonical_url": url})


def lists(folder: Path) -> Url:
    (folder / "block.yaml").write_text("domains: [casino.example]\npatterns: ['/tag/']\n")
    (folder / "lines.txt").write_text("# bad\nspam.example\nhttp://mixed.example/One?b=2&a=1\n")
    return Url(blocklists=(folder / "block.yaml",), lists=(folder / "lines.txt",), words=("porn",))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://www.casino.example/a", "blocked-domain"),
        ("http://good.example/tag/a", "blocked-pattern"),
        ("http://www.spam.example/a", "domain"),
        ("http://mixed.example/One?a=1&b=2", "url"),
        ("http://mixed.example/Two", None),
        ("http://good.example/free-Porn.html", "word"),
        ("http://good.example/pornography-in-law", None),
        ("http://notspam.example/", None),
        ("file:///etc/passwd", None),
        ("", None),
    ],
)
def test_an_address_on_a_list_is_dropped_for_the_list_it_is_on(tmp_path: Path, url: str, reason: str | None):
    assert lists(tmp_path).judge(at(url)) == reason


def test_a_document_without_an_address_is_on_no_list(tmp_path: Path):
    assert lists(tmp_path).judge(Document(text="text", id="0")) is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://de.pornhub.com/", "blocked-domain"),
        ("http://a.example/best-online-casino-2024", "blocked-pattern"),
        ("http://xxx.example/", "blocked-pattern"),
        ("http://xxxlutz.example/sexton/essex/escort-carriers", None),
        ("http://a.example/casino-royale-review", None),
    ],
)
def test_the_shipped_list_names_what_it_says_and_little_else(url: str, reason: str | None):
    shipped = Path(__file__).parents[3] / "configs" / "data" / "blocklists" / "adult.yaml"

    assert Url(blocklists=(shipped,)).judge(at(url)) == reason


def test_the_lists_of_a_filter_are_inputs_of_the_phase(tmp_path: Path):
    assert phase_filter.inputs([Length(), lists(tmp_path)]) == [
        tmp_path / "block.yaml",
        tmp_path / "lines.txt",
    ]


def test_a_list_that_cannot_be_read_is_named_before_work_begins(tmp_path: Path):
    with pytest.raises(ConfigError, match="nothing.yaml"):
        Url(blocklists=(tmp_path / "nothing.yaml",)).build()
    with pytest.raises(ConfigError, match="nothing.txt"):
        Url(lists=(tmp_path / "nothing.txt",)).build()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to jane.doe+news@mail.example.co.uk.", "Write to email@example.com."),
        ("<joe@a-b.org>,ann_1@x.io", "<email@example.com>,email@example.com"),
        ("Ask 8.8.8.8, not 10.0.0.1.", "Ask 192.0.2.1, not 10.0.0.1."),
        ("Version 1.2.3.4.5, v8.8.8.8 and 8.8.8.888 are none.",) * 2,
        ("Neither @joe nor joe@localhost nor 5 @ 3.",) * 2,
    ],
)
def test_personal_data_is_masked_and_nothing_else(text: str, masked: str):
    document = Document(text=text, id="0")

    assert Pii().build().filter(document) is True
    assert document.text == masked


@pytest.mark.parametrize(
    "text", ["a-" * 500_000, "a." * 500_000, "a@" * 500_000, "a@a." * 250_000, "1." * 500_000]
)
def test_a_text_made_to_stall_the_masks_takes_no_longer_than_another(text: str):
    Pii().build().filter(Document(text=text, id="0"))


@given(st.text(alphabet="a1.@- ", max_size=60))
def test_masking_twice_changes_nothing_more(text: str):
    document = Document(text=text, id="0")
    Pii().build().filter(document)
    once = document.text
    Pii().build().filter(document)

    assert document.text == once


def test_the_phase_counts_what_it_masked(tmp_path: Path, phase):
    files = {
        "00000": [document("a", "Mail joe@x.org or ann@x.org from 9.9.9.9")],
        "00001": [document("b", "to i@x.org")],
    }
    write_files(tmp_path / "in", files)

    counts = phase_filter.run([Pii()], phase("filter"))

    assert (counts.documents_in, counts.documents_out, counts.dropped) == (2, 2, {})
    assert (counts.extra["pii.emails"], counts.extra["pii.ip_addresses"]) == (3, 1)


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
