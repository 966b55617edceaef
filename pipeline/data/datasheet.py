"""datasheet.md: what every phase kept and dropped and why, and what the documents are like."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.data.documents import document_files
from pipeline.formats.manifest import Manifest
from pipeline.formats.publish import write_text
from pipeline.formats.reasons import in_words
from pipeline.formats.samples import sample

SAMPLE_CHARACTERS = 400
KEPT, DROPPED = 5, 2  # samples, of dropped documents for each reason
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~>$])")


def write_datasheet(dataset: Path, manifest: Manifest) -> None:
    """Write the datasheet of a dataset whose shards stand."""
    sections = [
        [f"# {escaped(dataset.name)}", "", *_summary(manifest)],
        ["## Phases", "", *_phases(manifest.phases)],
        ["## Dropped, by reason", "", *_reasons(manifest.phases)],
        *_overlap(manifest.phases),
        *_distributions(manifest.phases[-1]["extra"]["seen"]),
        ["## How it was built", "", *_execution(dataset)],
        ["## Kept: samples", "", *_samples(dataset / "kept" / "decontaminate" / "train", KEPT)],
        ["## Dropped: samples", "", *_dropped_samples(dataset / "dropped")],
    ]
    write_text(dataset / "datasheet.md", "\n\n".join("\n".join(lines).rstrip() for lines in sections) + "\n")


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return a Markdown table; numbers get thousands separators and stand right."""
    is_number = [any(isinstance(row[column], int | float) for row in rows) for column in range(len(head))]
    marks = ["---:" if each else "---" for each in is_number]
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
            phase["extra"].get("bytes_out", phase["extra"].get("bytes", "")),
            phase["seconds"],
        )
        for phase in phases
    ]
    return table(("phase", "in", "out", "dropped", "bytes out", "seconds"), rows)


def _reasons(phases: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        (phase["name"], in_words(reason, phase["name"]), number)
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
    """Yield the table like the paper's Table 6, and what the Bloom filter was."""
    extra: Mapping[str, Any] = next((phase["extra"] for phase in phases if "overlap" in phase["extra"]), {})
    overlap = extra.get("overlap", {})
    columns = {
        "ngrams": "n-grams",
        "percent_own_training": "in its own training text, %",
        "percent_before": "in train before, %",
        "percent_after": "in train after, %",
        "percent_bloom": "by the Bloom filter, %",
    }
    used = [key for key in columns if any(key in row for row in overlap.values())]
    if used:
        rows = [(name, *(row.get(key, "") for key in used)) for name, row in overlap.items()]
        head = ("held out", *(columns[key] for key in used))
        yield ["## Overlap of held-out text with training text", "", *table(head, rows)]
    if "bloom" in extra:
        yield [
            "## The Bloom filter of the corpus",
            "",
            *table(("what", "value"), list(extra["bloom"].items())),
        ]


def _distributions(seen: Mapping[str, Mapping[str, int]]) -> Iterator[list[str]]:
    lengths = sorted(((int(bound), number) for bound, number in seen["lengths_in_tokens"].items()))
    yield ["## Domains", "", *table(("domain", "documents"), list(seen["domains"].items())[:20])]
    yield ["## Languages", "", *table(("language", "documents"), list(seen["languages"].items())[:20])]
    yield ["## Lengths", "", *table(("tokens, at most", "documents"), lengths)]


def _execution(dataset: Path) -> list[str]:
    """Return where the tasks of the last start ran, which changes nothing of what they made."""
    execute = yaml.safe_load((dataset / "config.yaml").read_text(encoding="utf-8"))["execute"]
    options = {**execute["executor"], **{key: value for key, value in execute.items() if key != "executor"}}
    return table(
        ("option", "value"), [(key, str(value)) for key, value in options.items() if value is not None]
    )


def _dropped_samples(folder: Path) -> Iterator[str]:
    for reason in sorted({file.parent for file in document_files(folder)}):
        phase, _, name = reason.relative_to(folder).as_posix().partition("/")
        yield f"### {escaped(phase)}: {escaped(in_words(name, phase))}"
        yield ""
        yield from _samples(reason, DROPPED)
        yield ""


def _samples(folder: Path, number: int) -> list[str]:
    """Return documents of a folder as quotations: address, then the beginning of the text."""
    lines = []
    for row in sample(folder, number):
        lines += [
            f"- {escaped(str(row['metadata'].get('url', row['id'])))}",
            "",
            f"  > {escaped(row['text'][:SAMPLE_CHARACTERS])} …",
            "",
        ]
    return lines


def _row(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _shown(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.2f}" if isinstance(value, float) else escaped(str(value))
