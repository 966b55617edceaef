import json
import random
from pathlib import Path
from typing import Any

import pytest

from benchmarks.phases.wikipedia import measure
from pipeline.data import spill, wikipedia
from pipeline.data.documents import Text, document_files, read_documents
from pipeline.data.wikipedia import TextConfig, WikipediaConfig, WikipediaText, long_paragraphs, read_lists
from pipeline.errors import ConfigError
from tests.pipeline.data.conftest import document, write_files

SHIPPED = Path("configs/data/blocklists/wikipedia.yaml")
CHANCE = random.Random(2)
WORDS = [
    f"{a}{b}" for a in ("la", "mo", "ri", "su", "te") for b in ("ban", "cor", "din", "fel", "gon", "hul")
]


def sentence(words: int = 60) -> str:
    return " ".join(CHANCE.choices(WORDS, k=words))


ARTICLE = [sentence() for _ in range(6)]
OWN = [sentence() for _ in range(6)]


def at(host: str, text: str = "a text of its own") -> Text:
    url = f"http://{host}/page"
    return document(host, text, url=url, canonical_url=url)


def outcome(folder: Path) -> dict[str, list[str]]:
    """Return the kept texts under "" and the dropped ones under their reasons."""
    places = {"": folder / "kept" / "wikipedia"} | {
        path.name: path for path in (folder / "dropped" / "wikipedia").glob("*")
    }
    return {
        reason: [each.text for file in document_files(path) for each in read_documents(file)]
        for reason, path in places.items()
    }


def run(folder: Path, phase: Any, texts: list[str], **config: Any) -> dict[str, list[str]]:
    (folder / "dump.jsonl").write_text(json.dumps({"title": "x", "text": "\n".join(ARTICLE)}) + "\n")
    write_files(folder / "in", {"00000": [document(f"{n}", text) for n, text in enumerate(texts)]})
    wikipedia.run(WikipediaConfig(dump=[str(folder / "dump.jsonl")], **config), phase("wikipedia"))
    return outcome(folder)


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("en.wikipedia.org", "domain"),
        ("de.m.wikipedia.org", "domain"),
        ("www.wikiwand.com", "mirror"),
        ("encyclopedia.thefreedictionary.com", "mirror"),
        ("www.thefreedictionary.com", ""),
        ("notwikipedia.org", ""),
        ("github.com", ""),
    ],
)
def test_wikipedia_and_its_mirrors_go_by_their_names(tmp_path: Path, phase, host: str, reason: str):
    write_files(tmp_path / "in", {"00000": [at(host)]})

    counts = wikipedia.run(WikipediaConfig(), phase("wikipedia"))

    assert outcome(tmp_path)[reason] == ["a text of its own"]
    assert counts.dropped == ({reason: 1} if reason else {})


@pytest.mark.parametrize(
    "text",
    [
        "Rome\n\nFrom Wikipedia, the free encyclopedia\n\nRome is a city.",
        "Rome is a city.\n\nRetrieved from “http://en.wikipedia.org/wiki/Rome”",
        'Rome is a city.\nRetrieved from "https://en.wikipedia.org/w/index.php?title=Rome&oldid=1"',
        "Rome. This article is licensed under the GNU FDL. It uses material from the Wikipedia article Rome.",
        "Rome.\n\nThis page uses Creative Commons Licensed content from Wikipedia (view authors).",
        "Rome.\n\nThis article is issued from Wikipedia. The text is licensed under Creative Commons.",
        "Rome.\n\nWikipedia® is a registered trademark of the Wikimedia Foundation, Inc.",
    ],
)
def test_what_copies_say_of_themselves_gives_them_away(tmp_path: Path, phase, text: str):
    write_files(tmp_path / "in", {"00000": [document("x", text)]})

    wikipedia.run(WikipediaConfig(), phase("wikipedia"))

    assert outcome(tmp_path) == {"": [], "mark": [text]}


@pytest.mark.parametrize(
    "text",
    [
        "Wikipedia, the free encyclopedia, is ten years old.",
        "\n\n".join(
            [*["I think so."] * 6, "From Wikipedia, the free encyclopedia: a quotation.", "And I agree."]
        ),
        "References\n\nRome. (2014). Retrieved from https://en.wikipedia.org/wiki/Rome",
        "The article on Wikipedia says otherwise, see en.wikipedia.org.",
        "This article uses material from Wikipedia articles, among others, as examples of style.",
    ],
)
def test_to_speak_of_wikipedia_is_no_mark(tmp_path: Path, phase, text: str):
    write_files(tmp_path / "in", {"00000": [document("x", text)]})

    wikipedia.run(WikipediaConfig(), phase("wikipedia"))

    assert outcome(tmp_path) == {"": [text]}


def test_copies_go_by_their_text_and_quotations_stay(tmp_path: Path, phase):
    copy = "\n\n".join(["Contents", *ARTICLE[:4], OWN[0]])
    cited = "\n\n".join(
        piece.replace(" ", "[12] ", 3).replace(" su", "[citation needed] su", 2) for piece in ARTICLE
    )
    quotation = "\n\n".join([OWN[0], ARTICLE[0], OWN[1]])
    own = "\n\n".join(OWN)

    found = run(tmp_path, phase, [copy, cited, quotation, own])

    assert found == {"": [quotation, own], "text": [copy, cited]}
    [gone, _] = read_documents(tmp_path / "dropped" / "wikipedia" / "text" / "00000.jsonl.zst")
    assert gone.metadata["wikipedia_share"] == pytest.approx(4 / 5, abs=0.01)


def test_one_copied_paragraph_among_many_short_lines_is_no_copy(tmp_path: Path, phase):
    text = "\n\n".join([ARTICLE[0], *(sentence(7) for _ in range(20))])

    assert run(tmp_path, phase, [text], text={"one_in": 1}) == {"": [text]}


def test_headings_and_items_go_with_what_follows_them():
    assert long_paragraphs("a b c\n\nd\n\ne\n\nf\n\ng h\n\ni", 3) == ["a b c", "d\n\ne\n\nf", "g h\n\ni"]
    assert long_paragraphs("", 3) == [""]
    assert long_paragraphs("a\n\nb", 0) == ["a", "b"]


def test_a_copy_with_edited_words_is_found_up_to_the_share_that_was_set(tmp_path: Path, phase):
    edited = "\n\n".join(  # every tenth word: 10 of 53 8-grams stay as they were
        " ".join("x" if n % 10 == 5 else word for n, word in enumerate(piece.split())) for piece in ARTICLE
    )

    assert run(tmp_path, phase, [edited], text={"one_in": 1, "paragraph_overlap": 0.15}) == {
        "": [],
        "text": [edited],
    }
    assert (
        WikipediaText.read(
            phase("wikipedia").work / "index", TextConfig(one_in=1, paragraph_overlap=0.25)
        ).share_of(edited)
        == 0
    )


def test_an_index_in_parts_says_what_a_whole_one_says(tmp_path: Path, phase, monkeypatch: pytest.MonkeyPatch):
    copy, own = "\n\n".join(ARTICLE), "\n\n".join(OWN)
    monkeypatch.setattr(spill, "PART", 20)

    assert run(tmp_path, phase, [copy, own]) == {"": [own], "text": [copy]}
    assert len(list((phase("wikipedia").work / "index").iterdir())) > 2


def test_all_files_that_are_not_there_are_named_at_once(tmp_path: Path):
    config = WikipediaConfig(lists=[tmp_path / "a.yaml", SHIPPED], dump=[str(tmp_path / "*.xml.bz2")])

    with pytest.raises(ConfigError) as caught:
        wikipedia.inputs(config)

    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "wikipedia.lists",
        "wikipedia.dump",
    ]


def test_every_fault_of_a_list_is_named(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("dated: yesterday\nmarks: ['(']\nmirror: [x.org]\n")
    (tmp_path / "b.yaml").write_text("a: [")

    with pytest.raises(ConfigError) as caught:
        read_lists([tmp_path / "a.yaml", tmp_path / "b.yaml"])

    told = str(caught.value)
    assert all(
        each in told for each in ("dated", "not a regular expression", "did you mean mirrors", "b.yaml")
    )


def test_the_shipped_list_is_dated_and_names_fifty_mirrors_once_each():
    [shipped] = read_lists([SHIPPED])

    assert shipped.dated.year >= 2026
    assert len(shipped.mirrors) == len(set(shipped.mirrors)) >= 50
    assert shipped.sources
    assert all(host == host.lower().strip() and "/" not in host and "." in host for host in shipped.mirrors)


@pytest.mark.real_data
def test_copies_of_real_articles_are_found_and_nothing_else_is_dropped(real_data: Path, tmp_path: Path):
    pytest.importorskip("mwparserfromhell", reason="an independent reader of wikitext makes the copies")

    quality = measure(real_data, tmp_path, every=20)

    assert quality.recall >= 0.95
    assert quality.edited_recall[0.05] >= 0.9
    assert quality.false_drops == 0
    assert quality.others > 150
