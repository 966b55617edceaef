"""Pages made to hang, bloat or crash an extractor: each costs a few seconds of CPU, and no neighbour."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from pipeline.config import Kind
from pipeline.data.extract import CPU_SECONDS, page_text, sandboxed
from pipeline.data.sandbox import LostError, Sandbox
from pipeline.data.stored.pages import Page

KIND = Kind("pipeline.data.extractors")
SENTENCE = "The longest river crosses eleven countries before it ends in a delta, where it feeds people."
WHOLE = f"<p>{SENTENCE}</p>"
REFUSED = {  # before a parser sees them
    "100k nested divs": ("<div>" * 100_000 + WHOLE + "</div>" * 100_000, "too-deep"),
    "100k spans left open": ("<span>" * 100_000 + WHOLE, "too-deep"),
    "20k nested div/p": ("<div><p>" * 20_000 + WHOLE, "too-deep"),
    "200k attributes": (
        "<div " + " ".join(f'a{each}="x"' for each in range(200_000)) + ">" + WHOLE,
        "too-many-attributes",
    ),
    "200k bare attributes": (
        "<div " + " ".join(f"a{each}" for each in range(200_000)) + ">" + WHOLE,
        "too-many-attributes",
    ),
    "20 MB of text": ("flat text " * 2_000_000, "page-too-large"),
}
TAKEN = {  # and cheap enough
    "1M entities": "<p>" + "&amp;" * 1_000_000 + "</p>" + WHOLE,
    "2k nested tables": "<table><tr><td>" * 2_000 + WHOLE,
    "2k tables": "<table><tr><td>a cell of words</td></tr></table>" * 2_000 + WHOLE,
    "a billion columns": '<table><tr><td colspan="1000000000">x</td></tr></table>' + WHOLE,
    "300k comments left open": "<!--" * 300_000 + WHOLE,
    "1M angle brackets": "<" * 1_000_000 + WHOLE,
}
SLOW = {
    "4.6 MB of flat text": "flat text of words " * 242_000 + WHOLE,
    "4.6 MB in one paragraph": "<p>" + "flat text of words. " * 230_000 + "</p>" + WHOLE,
    "20k div/p": "<div><p>some words here</p></div>" * 20_000 + WHOLE,
    "100k links": '<a href="/x">a link</a> ' * 100_000 + WHOLE,
    "200k line breaks": "text<br>" * 200_000 + WHOLE,
    "attributes that only look quoted": "<div " + "a='<' " * 60_000 + ">" + WHOLE,
}


@pytest.fixture(scope="module", params=KIND.names())
def extractor(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with sandboxed(KIND.config(request.param)()) as sandbox:
        yield sandbox


def outcome(extractor: Sandbox, html: str) -> str:
    """Return the reason a page is lost for, or `text`; with the time limit held and the next page served."""
    started = time.process_time()
    try:
        page_text(page(f"<html><body>{html}"), extractor)
        found = "text"
    except LostError as fault:
        found = fault.reason
    assert time.process_time() - started < CPU_SECONDS
    assert SENTENCE in page_text(page(f"<html><body><article>{WHOLE * 5}</article></body></html>"), extractor)
    return found


def page(html: str) -> Page:
    url = "http://example.org/"
    return Page(url=url, canonical_url=url, fetched="", charset="utf-8", body=html.encode())


@pytest.mark.parametrize(("html", "reason"), REFUSED.values(), ids=REFUSED)
def test_markup_past_a_limit_is_refused_under_its_own_reason(extractor: Sandbox, html: str, reason: str):
    assert outcome(extractor, html) == reason


@pytest.mark.parametrize("html", TAKEN.values(), ids=TAKEN)
def test_markup_that_is_cheap_after_all_gives_its_text(extractor: Sandbox, html: str):
    assert outcome(extractor, html) == "text"


@pytest.mark.slow
@pytest.mark.parametrize("html", SLOW.values(), ids=SLOW)
def test_the_worst_of_what_passes_ends_within_its_cpu_time(extractor: Sandbox, html: str):
    assert outcome(extractor, html) in ("text", "time")
