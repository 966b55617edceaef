"""Writes the site's links as a Reddit dump: one submission a page, its score the pages that link to it."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from backports import zstd

from pipeline.formats import publish
from pipeline.quickstart.site.build import HOST, INDEX

# The dumps' own start: a fixed time, because the file must be the same every time.
FIRST_UTC = 1119552233
SECONDS_APART = 60
SUBREDDIT = "documentation"
RANGES = ((0, 1), (2, 2), (3, 5), (6, 10), (11, 30), (31, 100), (101, 300), (301, None))
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def write_submissions(site: Path, path: Path) -> dict[str, int]:
    """Publish the dump at `path` (RS_....zst) and return how many pages have which score, by range.

    `site` is a finished site; every page that another one links to is submitted once.
    """
    pages = publish.read_json(site / INDEX)["pages"]
    inbound = Counter(target for page in pages for target in page["links"])
    submissions = [
        _submission(number, page["path"], page["title"], inbound[page["path"]])
        for number, page in enumerate(pages)
        if inbound[page["path"]]
    ]
    lines = b"".join(orjson.dumps(submission) + b"\n" for submission in submissions)
    options: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}
    publish.write_bytes(path, zstd.compress(lines, options=options))
    return histogram(inbound[page["path"]] for page in pages)


def histogram(scores: Iterable[int]) -> dict[str, int]:
    """Return how many scores fall into which range, "3-5" for example."""
    counts = dict.fromkeys(map(_label, RANGES), 0)
    for score in scores:
        counts[next(_label(span) for span in RANGES if span[1] is None or score <= span[1])] += 1
    return counts


def histogram_lines(counts: dict[str, int]) -> Iterator[str]:
    """Yield the histogram as lines of text, a bar of up to 40 marks each."""
    most = max([*counts.values(), 1])
    for label, count in counts.items():
        yield f"{label:>8} links {count:>6} pages  {'#' * round(40 * count / most)}".rstrip()


def _label(span: tuple[int, int | None]) -> str:
    low, high = span
    if high is None:
        return f"{low}+"
    return str(low) if low == high else f"{low}-{high}"


def _submission(number: int, path: str, title: str, score: int) -> dict[str, Any]:
    """Return what a dump of 2005 says of a link, as far as the site can tell."""
    name = _base36(number + 1)
    return {
        "author": "pydoc",
        "created_utc": FIRST_UTC + SECONDS_APART * number,
        "distinguished": None,
        "domain": HOST,
        "edited": False,
        "gilded": 0,
        "id": name,
        "is_self": False,
        "num_comments": 0,
        "over_18": False,
        "permalink": f"/r/{SUBREDDIT}/comments/{name}/",
        "score": score,
        "selftext": "",
        "stickied": False,
        "subreddit": SUBREDDIT,
        "title": title,
        "url": f"http://{HOST}/{quote(path)}",
    }


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
