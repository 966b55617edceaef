"""Documents for reading: what was kept, and for each reason something that was dropped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.formats.reasons import in_words
from pipeline.formats.samples import sample
from pipeline.report import numbers
from pipeline.report.section import Section
from pipeline.report.sources import Sources

NAME, TITLE = "examples", "Pages for reading"
CHARACTERS = 700
KEPT, DROPPED = 4, 2


def section(sources: Sources) -> Section:
    """Return the section, or how to build the dataset it needs."""
    if sources.dataset is None:
        return Section(name=NAME, title=TITLE, remedy="no dataset here; `loglinear data CONFIG` builds one")
    kept, dropped = _kept_folder(sources.dataset), sources.dataset / "dropped"
    if kept is None and not dropped.is_dir():
        remedy = f"{sources.dataset} keeps no documents any more, only shards; build it again to read pages"
        return Section(name=NAME, title=TITLE, remedy=remedy)
    values = {
        "kept": _documents(kept, KEPT) if kept else [],
        "dropped": [shown for phase in sources.phases if (shown := _dropped(dropped, phase))["reasons"]],
    }
    return Section(name=NAME, title=TITLE, template="examples.html.j2", values=values)


def _kept_folder(dataset: Path) -> Path | None:
    """Return the folder of the documents that became training tokens: the last phase's that kept any."""
    for name in (
        "kept/decontaminate",
        "kept/dedup",
        "kept/remove",
        "kept/wikipedia",
        "kept/filter",
        "documents",
    ):
        folder = dataset / name
        if folder.is_dir():
            return folder / "train" if (folder / "train").is_dir() else folder
    return None


def _dropped(folder: Path, phase: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a phase dropped, the most frequent reason first, and what it cut from documents."""
    whole: Mapping[str, int] = phase["dropped"]
    found = {path.parent for path in (folder / phase["name"]).rglob("*.jsonl.zst")}
    named = [(path.relative_to(folder / phase["name"]).as_posix(), path) for path in found]
    reasons = [
        (_reason(name, whole, phase["name"]), documents)
        for name, path in sorted(named, key=lambda item: (-whole.get(item[0], 0), item[0]))
        if (documents := _documents(path, DROPPED))
    ]
    return {"phase": phase["name"], "number": numbers.count(sum(whole.values())), "reasons": reasons}


def _reason(name: str, dropped: Mapping[str, int], phase: str) -> str:
    number = numbers.count(dropped[name]) if name in dropped else "parts of documents that stay"
    return f"{in_words(name, phase)}: {number}"


def _documents(folder: Path, number: int) -> list[dict[str, str]]:
    return [_shown(row) for row in sample(folder, number)]


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
