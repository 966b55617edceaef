import pytest

from pipeline.formats.reasons import in_words


@pytest.mark.parametrize(
    ("reason", "phase", "words"),
    [
        ("below-karma", "links", "fewer votes than asked for"),
        ("http-404", "fetch", "HTTP status 404"),
        ("status-503", "extract", "HTTP status 503"),
        ("gopher_quality.few_stop_words", "filter", "Gopher quality: few stop words"),
        ("language.de", "filter", "language: de"),
        ("language.unsure", "filter", "language uncertain"),
        ("domain", "wikipedia", "Wikipedia itself"),
        ("domain", "remove", "asked to be removed: the whole domain"),
        ("too-many-redirects", "fetch", "too many redirects"),
    ],
)
def test_a_reason_is_said_in_words(reason: str, phase: str, words: str) -> None:
    assert in_words(reason, phase) == words
