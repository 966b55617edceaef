"""Articles and highlights in every layout, and rows that are none."""

import csv
import hashlib

import pytest

from pipeline.errors import FormatError
from pipeline.evaluate.articles import SOURCE, Article, hub_row
from pipeline.formats.source import MissingSet, read

STORY = (
    "A dam broke\u2028in the north.\n\nNobody was hurt.\n\n"
    "@highlight\n\nA dam broke\n\n@highlight\n\nNobody hurt\n"
)
ARTICLE = Article("A dam broke\u2028in the north.\nNobody was hurt.", ("A dam broke", "Nobody hurt"))
ADDRESS = "http://news.example/dam.html"


def stories(folder, story=STORY, addresses=(ADDRESS,)):
    name = hashlib.sha1(ADDRESS.encode()).hexdigest()
    for press, number in (("cnn", name), ("dailymail", "0" * 40)):
        place = folder / "cnn_dailymail" / press / "stories"
        place.mkdir(parents=True)
        (place / f"{number}.story").write_text(story if press == "cnn" else STORY)
    (folder / "cnn_dailymail" / "all_test.txt").write_text("".join(f"{each}\n" for each in addresses))


def table(folder, rows, columns=("id", "article", "highlights")):
    (folder / "cnn_dailymail").mkdir()
    with (folder / "cnn_dailymail" / "test.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def lines(folder, content):
    (folder / "cnndm").mkdir()
    (folder / "cnndm" / "cnndm_mini-dataset.tsv").write_bytes(content)


def test_stories_of_the_listed_addresses_are_taken(tmp_path):
    stories(tmp_path)

    (article,) = read(SOURCE, tmp_path).rows

    assert article.highlights == ARTICLE.highlights
    assert article.text.split() == ARTICLE.text.split()


def test_tables_and_lines_say_the_same(tmp_path):
    text = "A dam broke.\nNobody was hurt."
    for folder in ("table", "lines"):
        (tmp_path / folder).mkdir()
    table(tmp_path / "table", [["1", text, "A dam broke\nNobody hurt"]])
    lines(tmp_path / "lines", b"A dam broke.\tA dam broke  Nobody hurt\n")

    assert read(SOURCE, tmp_path / "table").rows == [Article(text, ARTICLE.highlights)]
    assert read(SOURCE, tmp_path / "lines").rows == [Article("A dam broke.", ARTICLE.highlights)]


def test_a_row_by_name_is_read_alike():
    assert hub_row({"article": "One. Two.", "highlights": "one\ntwo", "id": "1"}) == Article(
        "One. Two.", ("one", "two")
    )
    with pytest.raises(ValueError, match="are empty"):
        hub_row({"article": "One. Two.", "highlights": " \n", "id": "1"})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda at: stories(at, STORY.partition("@")[0]), r"\.story:1: no text, or no @highlight"),
        (
            lambda at: stories(at, addresses=[ADDRESS, "http://x"]),
            r"all_test\.txt:2: no \w+\.story for 'http",
        ),
        (lambda at: table(at, [["1", "", "b"]]), r"test\.csv:2: an empty article or summary"),
        (lambda at: table(at, [["1", "a\nb", "c"], ["2", "d"]]), r"test\.csv:4: an empty article or summary"),
        (lambda at: table(at, [["1", "a"]], ("id", "article")), r"test\.csv:1: no column highlights"),
        (lambda at: lines(at, b"a.\tb\nonly one\n"), r"dataset\.tsv:2: not an article, a tab and"),
        (lambda at: lines(at, b"a.\tb\tc\n"), r"dataset\.tsv:1: not an article, a tab and"),
        (lambda at: lines(at, b"a.\tb\nc\xff.\td\n"), r"dataset\.tsv:2: not UTF-8"),
        (lambda at: lines(at, b""), "is there but holds no row"),
    ],
)
def test_a_row_that_is_none_is_named_by_file_and_line(make, message, tmp_path):
    make(tmp_path)

    with pytest.raises(FormatError, match=message):
        read(SOURCE, tmp_path)


def test_where_to_get_the_set_is_told(tmp_path):
    with pytest.raises(
        MissingSet, match=r"CNN/DailyMail: not below .*test\.csv.*get it from https://cs\.nyu"
    ):
        read(SOURCE, tmp_path)
