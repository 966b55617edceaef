"""The look before the parser: what it refuses, and what it must let through."""

import pytest

from pipeline.data.stored.markup import MAX_ATTRIBUTES, MAX_CHARACTERS, MAX_DEPTH, excess


def tags(number: int) -> str:
    return "<div>" * number


def attributes(number: int) -> str:
    return "<p " + " ".join(f'a{each}="some words"' for each in range(number)) + ">"


@pytest.mark.parametrize(
    ("html", "reason"),
    [
        ("x" * (MAX_CHARACTERS + 1), "page-too-large"),
        (tags(MAX_DEPTH + 1), "too-deep"),
        (tags(MAX_DEPTH + 1) + "</div>" * MAX_DEPTH, "too-deep"),
        (attributes(MAX_ATTRIBUTES + 1), "too-many-attributes"),
        (attributes(MAX_ATTRIBUTES + 1).replace(' a1="', 'a1="'), "too-many-attributes"),
        ("<p " + "a " * (MAX_ATTRIBUTES + 1), "too-many-attributes"),
    ],
)
def test_a_page_past_a_limit_is_refused(html: str, reason: str):
    assert excess(html) == reason


@pytest.mark.parametrize(
    "html",
    [
        "x" * MAX_CHARACTERS,
        tags(MAX_DEPTH),
        ("<div>" + "</div>") * 3 * MAX_DEPTH,
        "<p>a paragraph nobody closed" * 3 * MAX_DEPTH,
        "a line<br>" * 3 * MAX_DEPTH,
        "<table>" + "<tr><td>a cell nobody closed" * 2 * MAX_DEPTH,
        "<script>" + "if (a<b) c();" * 2 * MAX_DEPTH + "</script>",
        "<script>for (i=0;i<n" + "; i = i + 1" * MAX_ATTRIBUTES + "</script>",
        attributes(MAX_ATTRIBUTES),
        "<p data-state='" + '{"key": "of many words"} ' * MAX_ATTRIBUTES + "'>",
        '<p data-html="<b>' + "words " * 2 * MAX_ATTRIBUTES + '</b>">',
        "a < b and " * 3 * MAX_DEPTH,
        "< " + "word " * 3 * MAX_ATTRIBUTES,
        "",
    ],
)
def test_a_page_that_is_only_long_or_careless_is_not(html: str):
    assert excess(html) is None
