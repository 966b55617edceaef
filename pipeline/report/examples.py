"""Documents for reading: what was kept, and for each reason something that was dropped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from pipeline.errors import FormatError
from pipeline.report import numbers
from pipeline.report.section import Section
from pipeline.report.sources import Sources

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

NAME, TITLE = "examples", "Pages for reading"
CHARACTERS = 700
KEPT, DROPPED = 4, 2
STRIDE = 7  # neighbours in a file are often alike: every seventh document says more than the first few


def section(sources: Sources) -> Section:
    """Return the section, or how to build the dataset it needs."""
    if sources.dataset is None:
        return Section(name=NAME, title=TITLE, remedy="no dataset here; `loglinear data CONFIG` builds one")
    kept, dropped = _kept_folder(sources.dataset), sources.dataset / "dropped"
    if kept is None and not dropped.is_dir():
        remedy = f"{sources.dataset} keeps no documents any more, only shards; build it again to read pages"
        return Section(name=NAME, title=TITLE, remedy=remedy)
    values = {"kept": _documents(kept, KEPT) if kept else [], "dropped": list(_dropped(dropped))}
    return Section(name=NAME, title=TITLE, template="examples.html.j2", values=values)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a zstd-compressed JSON lines file; FormatError if it is cut off or damaged."""
    try:
        with zstd.open(path, "rb") as lines:
            yield from map(orjson.loads, lines)
    except (EOFError, zstd.ZstdError, orjson.JSONDecodeError) as fault:
        raise FormatError(f"{path}: {type(fault).__name__}: {fault}; rebuild it") from None


def _kept_folder(dataset: Path) -> Path | None:
    """Return the folder of the documents that became training tokens: the last phase's that kept any."""
    for phase in ("decontaminate", "dedup", "filter", "extract"):
        folder = dataset / "kept" / phase
        if folder.is_dir():
            return folder / "train" if (folder / "train").is_dir() else folder
    return None


def _dropped(folder: Path) -> Iterator[tuple[str, list[dict[str, str]]]]:
    for reason in sorted({path.parent for path in folder.rglob("*.jsonl.zst")}):
        if documents := _documents(reason, DROPPED):
            yield reason.relative_to(folder).as_posix().replace("/", ": ", 1), documents


def _documents(folder: Path, number: int) -> list[dict[str, str]]:
    """Return a few documents of a folder, the first ones where there are not enough to choose from."""
    files = sorted(folder.rglob("*.jsonl.zst"))
    rows = list(islice((row for path in files for row in read_lines(path)), STRIDE * number))
    return [_shown(row) for row in (rows[::STRIDE] if len(rows) == STRIDE * number else rows[:number])]


def _shown(row: dict[str, Any]) -> dict[str, str]:
    text, metadata = str(row.get("text", "")), row.get("metadata", {})
    details = [f"{numbers.count(len(text))} characters"]
    details += [
        f"{name} {metadata[key]}"
        for key, name in (
            ("karma", "karma"),
            ("language", "language"),
            ("duplicate_of", "duplicate of"),
            ("detail", ""),
        )
        if metadata.get(key) not in (None, "")
    ]
    return {
        "url": str(metadata.get("url", row.get("id", ""))),
        "details": ", ".join(detail.strip() for detail in details),
        "text": text[:CHARACTERS] + (" …" if len(text) > CHARACTERS else ""),
    }
