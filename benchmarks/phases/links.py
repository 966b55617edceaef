"""The links phase against a bare loop that only decompresses a dump and parses its lines.

The peer is `zstandard`'s stream reader, lines split, `orjson.loads` of each, and nothing else; ours is the
whole phase, to sorted and aggregated Parquet. Both are held to one core. The dump is made here, with the
fields, lengths and kinds of links of real ones, unless one is given. With `--growth` the phase alone is timed
at 1, 4 and 16 times as many submissions, each in a process of its own whose peak memory is told.

    python -m benchmarks.phases.links [--scale X] [--dump RS_2017-07.zst] [--growth]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import multiprocessing
import os
import random
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import zstandard

from benchmarks.phases.ratio import Ratio, alternate
from pipeline.data import links

SUBMISSIONS = 200_000
GOAL = 0.6
_WINDOW = 1 << 31
_CHUNK_BYTES = 1 << 17  # as ours reads: the peer would be slower with larger ones
# Shares of what was submitted around 2017: text posts, media hosts (the block list's), and everything else.
_SELF, _MEDIA = 0.3, 0.3
_MEDIA_HOSTS = ("i.redd.it", "i.imgur.com", "imgur.com", "www.youtube.com", "youtu.be", "v.redd.it")
_REPEATED = 0.15
_ABSENT = (
    "author_flair_background_color",
    "author_flair_css_class",
    "author_flair_text",
    "author_flair_text_color",
    "distinguished",
    "link_flair_css_class",
    "link_flair_text",
    "media",
    "secure_media",
    "suggested_sort",
    "thumbnail_height",
    "thumbnail_width",
)
_FALSE = (
    "contest_mode",
    "edited",
    "hidden",
    "hide_score",
    "is_reddit_media_domain",
    "is_video",
    "locked",
    "no_follow",
    "spoiler",
    "stickied",
)
# How often URLs end in which way.
_RESTS = {"": 74, "/": 10, "?id=12345": 9, "?utm_source=x&page=2": 4, "#top": 2, "%20x": 1}


def main() -> None:
    """Print the ratio, or how the phase grows."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--scale", type=float, default=1.0, help=f"of {SUBMISSIONS:,} submissions")
    arguments.add_argument("--dump", type=Path, help="a real dump (.zst) instead of a made one")
    arguments.add_argument("--growth", action="store_true", help="time 1, 4 and 16 times as many")
    chosen = arguments.parse_args()
    if chosen.growth:
        for row in grow(chosen.scale):
            print(
                f"links {row['submissions']:>10,} submissions {row['seconds']:8.2f} s "
                f"{row['peak_mebibytes']:6.0f} MiB"
            )
    else:
        print(*measure(chosen.scale, chosen.dump), sep="\n")


def measure(scale: float = 1.0, dump: Path | None = None) -> list[Ratio]:
    """Return ours against the bare loop."""
    with tempfile.TemporaryDirectory() as folder, one_core():
        path = dump or write_dump(Path(folder) / "RS_2017-07.zst", int(SUBMISSIONS * scale))
        out = Path(folder) / "dataset"
        ours, peer = alternate(lambda: run(path, out), lambda: bare_loop(path))
        note = f"{path.name}, {path.stat().st_size / 1e6:.0f} MB"
    return [Ratio(name="links", ours_seconds=ours, peer_seconds=peer, goal=GOAL, note=note)]


def grow(scale: float = 1.0) -> Iterator[dict[str, Any]]:
    """Yield time and peak memory of the phase at 1, 4 and 16 times `scale`, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for times in (1, 4, 16):
            path = Path(folder) / f"RS_{times}.zst"
            count = int(SUBMISSIONS * scale * times)
            write_dump(path, count)
            with context.Pool(1) as pool:
                row = pool.apply(_timed, (path, Path(folder) / f"dataset-{times}"))
            yield {"submissions": count, **row}


def run(path: Path, out: Path) -> None:
    """Run the whole phase as it is configured by default."""
    links.run(links.LinksConfig(inputs=[str(path)]), out)


def bare_loop(path: Path) -> int:
    """Return how many lines of a dump parse."""
    lines, rest = 0, b""
    with path.open("rb") as raw:
        reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(
            raw, read_across_frames=True
        )
        while chunk := reader.read(_CHUNK_BYTES):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                orjson.loads(line)
            lines += len(whole)
    return lines


def write_dump(path: Path, submissions: int, seed: int = 0) -> Path:
    """Write a dump of made submissions, compressed as Reddit's are; the same for the same seed."""
    made = random.Random(seed)
    seen: list[str] = []
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
    with path.open("wb") as raw, compressor.stream_writer(raw) as file:
        for _ in range(submissions):
            file.write(orjson.dumps(_submission(made, seen)) + b"\n")
    return path


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Hold this process, with all its threads, to one core for a while."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _timed(path: Path, out: Path) -> dict[str, float]:
    start = time.perf_counter()
    run(path, out)
    seconds = time.perf_counter() - start
    # Not from rusage: that of a new process begins with its parent's.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return {"seconds": seconds, "peak_mebibytes": int(peak[1]) / 1024 if peak else math.nan}


def _submission(made: random.Random, seen: list[str]) -> dict[str, Any]:
    """Return the fields of a submission as dumps of 2017 have them."""
    name = f"{made.getrandbits(34):x}"
    subreddit = f"{_word(made)}{made.randrange(20_000)}"
    title = " ".join(_word(made) for _ in range(made.randrange(3, 16)))
    permalink = f"/r/{subreddit}/comments/{name}/{title.replace(' ', '_')[:50]}/"
    is_self = made.random() < _SELF
    url = f"https://www.reddit.com{permalink}" if is_self else _url(made, seen)
    domain = f"self.{subreddit}" if is_self else url.split("/")[2]
    text = " ".join(_word(made) for _ in range(made.randrange(10, 150))) if is_self else ""
    return {
        **dict.fromkeys(_ABSENT),
        **dict.fromkeys(_FALSE, False),
        "archived": True,
        "author": f"{_word(made)}{made.randrange(9999)}",
        "author_flair_richtext": [],
        "author_flair_type": "text",
        "brand_safe": True,
        "can_gild": True,
        "created_utc": 1_498_867_200 + made.randrange(2_678_400),
        "domain": domain,
        "gilded": 0,
        "id": name,
        "is_crosspostable": True,
        "is_self": is_self,
        "link_flair_richtext": [],
        "link_flair_type": "text",
        "media_embed": {},
        "num_comments": int(made.paretovariate(0.8)) - 1,
        "num_crossposts": 0,
        "over_18": made.random() < 0.1,
        "parent_whitelist_status": "all_ads",
        "permalink": permalink,
        "rte_mode": "markdown",
        "score": int(made.paretovariate(0.8)) % 100_000,
        "secure_media_embed": {},
        "selftext": text,
        "send_replies": True,
        "subreddit": subreddit,
        "subreddit_id": f"t5_{made.getrandbits(22):x}",
        "subreddit_name_prefixed": f"r/{subreddit}",
        "subreddit_type": "public",
        "thumbnail": f"https://b.thumbs.redditmedia.com/{made.getrandbits(256):x}.jpg",
        "title": title,
        "url": url,
        "whitelist_status": "all_ads",
    }


def _url(made: random.Random, seen: list[str]) -> str:
    if made.random() < _MEDIA / (1 - _SELF):
        return f"https://{made.choice(_MEDIA_HOSTS)}/{made.getrandbits(40):x}"
    if seen and made.random() < _REPEATED:
        return made.choice(seen)
    host = f"www.{_word(made)}{int(made.paretovariate(0.7)) % 1000}"  # few have most links
    path = "/".join(_word(made) for _ in range(made.randrange(1, 5)))
    (rest,) = made.choices(tuple(_RESTS), weights=_RESTS.values())
    seen.append(
        f"{made.choice(('http', 'https'))}://{host}.{made.choice(('com', 'org', 'co.uk'))}/{path}"
        f"-{made.randrange(10**5)}{rest}"
    )
    return seen[-1]


def _word(made: random.Random) -> str:
    return _words()[int(made.random() * 4096)]


@functools.cache
def _words() -> list[str]:
    made = random.Random(1)
    return [
        "".join(made.choices("eeeettaaooinnsshhrrdlcumwfgypbvk", k=made.randrange(2, 11)))
        for _ in range(4096)
    ]


if __name__ == "__main__":
    main()
