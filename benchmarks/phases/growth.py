"""Time and peak memory of every phase at 1, 4 and 16 times the documents: does the cost grow linearly?

A web of generated pages is served on loopback and built into a dataset by the command line, phase by phase;
the peak is that of the command with all its processes, pages that they share counted once.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

from benchmarks.phases.prose import article

SIZES = (1, 4, 16)
PAGES = 600  # at size 1
HOST = "docs.growth.test"
PHASES = ("links", "fetch", "extract", "filter", "dedup", "decontaminate", "tokenize")
CONFIG = """
out: {out}
links: {{inputs: ["{dump}"], blocklists: []}}
fetch:
  contact: https://example.org/benchmark
  hosts: {{{host}: "{address}"}}
  allow: ["{address}"]
  host_delay_seconds: 0
  host_connections: 16
extract: {{kind: resiliparse}}
filters:
  - {{kind: language, min_score: 0.2}}
  - {{kind: gopher_repetition}}
  - {{kind: gopher_quality, min_stop_words: 1}}
dedup: {{paragraphs: {{remove: repeated}}}}
splits: {{validation: 0.02, test: 0.02}}
tokenizer: {{kind: gpt2}}
"""


def measure(scale: float = 1.0) -> list[dict[str, Any]]:
    """Return a row (phase, documents, seconds, peak bytes) for each phase and size."""
    from pipeline.quickstart import server

    rows = []
    for size in SIZES:
        pages = int(PAGES * scale) * size
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            _write_web(place, pages)
            with server.start(place / "site") as running:
                text = CONFIG.format(
                    out=place / "data", dump=place / "RS.json", host=HOST, address=running.address
                )
                (place / "config.yaml").write_text(text)
                for phase in PHASES:
                    peak = _peak_of(["data", str(place / "config.yaml"), "--only", phase])
                    mark = orjson.loads((place / "data" / ".phases" / f"{phase}.json").read_bytes())
                    rows.append(
                        {
                            "phase": phase,
                            "size": size,
                            "documents": mark["counts"]["documents_in"],
                            "seconds": mark["seconds"],
                            "peak_bytes": peak,
                        }
                    )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a table: seconds and MB at each size, and seconds for 16 over 4 times as much."""
    lines = [
        f"{'phase':<14}" + "".join(f"{f'{size}x: s':>10}{'MB':>7}" for size in SIZES) + f"{'16x / 4x':>10}"
    ]
    for phase in PHASES:
        found = {row["size"]: row for row in rows if row["phase"] == phase}
        cells = "".join(
            f"{found[size]['seconds']:10.2f}{found[size]['peak_bytes'] / 1e6:7.0f}" for size in SIZES
        )
        lines.append(f"{phase:<14}{cells}{found[16]['seconds'] / found[4]['seconds']:10.2f}")
    return "\n".join(lines)


def _write_web(place: Path, pages: int) -> None:
    """Write pages, one in ten nearly equal to the one before, and a dump that links to all of them."""
    (place / "site").mkdir()
    with (place / "RS.json").open("wb") as dump:
        for number in range(pages):
            is_copy = number % 10 == 9
            body = article(number - is_copy) + (f"<p>Seen again as number {number}.</p>" if is_copy else "")
            (place / "site" / f"{number}.html").write_text(
                f"<html><body><h1>{number}</h1>{body}</body></html>"
            )
            row = {
                "url": f"http://{HOST}/{number}.html",
                "score": 3 + number % 7,
                "created_utc": 1_400_000_000 + number,
                "subreddit": "benchmarks",
                "is_self": False,
            }
            dump.write(orjson.dumps(row) + b"\n")


def _peak_of(command: list[str]) -> int:
    """Run a command of ours; returns the most bytes that it and its children held at once."""
    import psutil

    child = subprocess.Popen([sys.executable, "-m", "pipeline", *command], stderr=subprocess.PIPE)
    family = psutil.Process(child.pid)
    peak = 0
    while child.poll() is None:
        held = 0
        for process in [family, *_children(family)]:
            try:
                held += process.memory_full_info().pss
            except psutil.Error:
                continue
        peak = max(peak, held)
        time.sleep(0.05)
    assert child.stderr is not None
    said = child.stderr.read().decode()
    if child.returncode:
        raise SystemExit(said)
    return peak


def _children(process: Any) -> list[Any]:
    import psutil

    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []
