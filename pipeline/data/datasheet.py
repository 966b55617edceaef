"""datasheet.md: what every phase kept and dropped and why, and what the documents are like."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.data.documents import document_files, read_documents
from pipeline.formats.manifest import Manifest
from pipeline.formats.publish import write_text

SAMPLE_CHARACTERS = 400
SAMPLES = 3
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~>$])")


def write_datasheet(dataset: Path, manifest: Manifest) -> None:
    """Write the datasheet of a dataset whose shards stand."""
    sections = [
        [f"# {escaped(dataset.name)}", "", *_summary(manifest)],
        ["## Phases", "", *_phases(manifest.phases)],
        ["## Dropped, by reason", "", *_reasons(manifest.phases)],
        *_overlap(manifest.phases),
        *_distributions(manifest.phases[-1]["extra"]["seen"]),
        ["## Kept: samples", "", *_samples(dataset / "kept" / "decontaminate" / "train", SAMPLES)],
        ["## Dropped: samples", "", *_dropped_samples(dataset / "dropped")],
    ]
    write_text(dataset / "datasheet.md", "\n\n".join("\n".join(lines).rstrip() for lines in sections) + "\n")


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return a Markdown table; numbers get thousands separators and stand right."""
    marks = [
        "---:" if rows and isinstance(value, int | float) else "---" for value in (rows[0] if rows else head)
    ]
    lines = [_row(head), _row(marks)]
    return lines + [_row([_shown(value) for value in row]) for row in rows]


def escaped(text: str) -> str:
    """Return text that Markdown and HTML show as it is: a page may hold anything."""
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def _summary(manifest: Manifest) -> list[str]:
    rows = [
        (
            split,
            sum(shard.documents for shard in shards),
            manifest.tokens(split),
            manifest.text_bytes.get(split, 0),
        )
        for split, shards in manifest.splits.items()
    ]
    return [
        f"Tokenizer {escaped(manifest.tokenizer)} ({manifest.vocab_size:,} ids), built by version "
        f"{escaped(manifest.code_version)}, configuration {manifest.config_hash}.",
        "",
        *table(("split", "documents", "tokens", "bytes of text"), rows),
    ]


def _phases(phases: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        (
            phase["name"],
            phase["documents_in"],
            phase["documents_out"],
            sum(phase["dropped"].values()),
            phase["extra"].get("bytes_out", ""),
            phase["seconds"],
        )
        for phase in phases
    ]
    return table(("phase", "in", "out", "dropped", "bytes of text out", "seconds"), rows)


def _reasons(phases: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        (phase["name"], reason, number)
        for phase in phases
        for reason, number in sorted(phase["dropped"].items(), key=lambda item: -item[1])
    ]
    rows += [
        (phase["name"], "paragraphs (parts of documents that stay)", phase["extra"]["paragraphs_removed"])
        for phase in phases
        if "paragraphs_removed" in phase["extra"]
    ]
    return table(("phase", "reason", "number"), rows)


def _overlap(phases: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    overlap: Mapping[str, Any] = next(
        (phase["extra"]["overlap"] for phase in phases if "overlap" in phase["extra"]), {}
    )
    if overlap:
        rows = [
            (name, *(row[key] for key in ("ngrams", "percent_before", "percent_after")))
            for name, row in overlap.items()
        ]
        head = ("held out", "distinct 8-grams", "in train before, %", "in train after, %")
        yield ["## Overlap of held-out text with training text", "", *table(head, rows)]


def _distributions(seen: Mapping[str, Mapping[str, int]]) -> Iterator[list[str]]:
    lengths = sorted(((int(bound), number) for bound, number in seen["lengths_in_tokens"].items()))
    yield ["## Domains", "", *table(("domain", "documents"), list(seen["domains"].items())[:20])]
    yield ["## Languages", "", *table(("language", "documents"), list(seen["languages"].items())[:20])]
    yield ["## Lengths", "", *table(("tokens, at most", "documents"), lengths)]


def _dropped_samples(folder: Path) -> Iterator[str]:
    for reason in sorted({file.parent for file in document_files(folder)}):
        yield f"### {escaped(str(reason.relative_to(folder)))}"
        yield ""
        yield from _samples(reason, 1)
        yield ""


def _samples(folder: Path, number: int) -> list[str]:
    """Return the first documents of a folder as quotations: address, then the beginning of the text."""
    files = document_files(folder)
    lines = []
    for document in islice((document for file in files for document in read_documents(file)), number):
        text = document.text[:SAMPLE_CHARACTERS]
        lines += [
            f"- {escaped(str(document.metadata.get('url', document.id)))}",
            "",
            f"  > {escaped(text)} …",
            "",
        ]
    return lines


def _row(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _shown(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.1f}" if isinstance(value, float) else escaped(str(value))
