"""Why phases drop things, in words: counts and folders on disk have short names, people read these."""

from __future__ import annotations

import re

# Reasons that do not say by themselves what they mean; a phase in front where phases use one differently.
WORDS = {
    "below-karma": "fewer votes than asked for",
    "repeat": "another submission of a link that is kept",
    "self-post": "text post without a link",
    "over-18": "marked as for adults",
    "bad-url": "not an address",
    "not-http": "neither http nor https",
    "dns": "host name unknown",
    "tls": "no secure connection",
    "robots": "not allowed by robots.txt",
    "robots-unreachable": "robots.txt could not be read",
    "crawl-delay": "robots.txt asks for too long a pause",
    "host-broken": "host given up after failing again and again",
    "address-refused": "leads to an address that is not public",
    "first-byte-timeout": "no answer in time",
    "total-timeout": "not complete in time",
    "too-slow": "sent too slowly",
    "connection-cut": "connection cut half-way",
    "compression-ratio": "inflates beyond all measure",
    "type": "neither HTML nor text",
    "not-in-common-crawl": "not in Common Crawl",
    "no-text": "no text found",
    "empty": "no text found",
    "crash": "the extractor crashed",
    "hang": "the extractor never ended",
    "time": "the extractor took too long",
    "memory": "the extractor took too much memory",
    "language.unsure": "language uncertain",
    "exact": "same text as another",
    "near": "nearly the same text as another",
    "little_left": "too little left of it",
    "overlap": "overlaps with held-out text",
    "paragraphs": "paragraphs taken out",
    "shorter-than-a-span": "shorter than one span of tokens",
    "wikipedia/domain": "Wikipedia itself",
    "wikipedia/mirror": "a mirror of Wikipedia",
    "wikipedia/mark": "says that it comes from Wikipedia",
    "wikipedia/text": "most paragraphs are Wikipedia's",
    "remove/url": "asked to be removed: this page",
    "remove/domain": "asked to be removed: the whole domain",
}
FILTERS = {"c4": "C4", "fineweb": "FineWeb", "gopher_quality": "Gopher quality", "url": "URL list"}


def in_words(reason: str, phase: str = "") -> str:
    """Return a reason for people: `gopher_quality.few_words` is `Gopher quality: few words`."""
    known = WORDS.get(f"{phase}/{reason}") or WORDS.get(reason)
    if known:
        return known
    if re.fullmatch(r"(http|status)-\d{3}", reason):
        return f"HTTP status {reason[-3:]}"
    kind, _, rest = reason.rpartition(".")
    plain = re.sub("[_-]", " ", rest)
    return f"{FILTERS.get(kind, kind.replace('_', ' '))}: {plain}" if kind else plain
