"""The data funnel: how much each phase took in, kept and dropped, why, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.formats.manifest import Manifest
from pipeline.formats.reasons import in_words
from pipeline.report import numbers
from pipeline.report.bars import across, shortened
from pipeline.report.canvas import Canvas
from pipeline.report.figure import Figure, draw
from pipeline.report.palette import BAR, INK, MUTED, RULE
from pipeline.report.section import Section, Table
from pipeline.report.sources import Sources

NAME, TITLE = "funnel", "From links to tokens"
# What a phase counts, where it is not documents.
UNITS = {
    "links": ("submissions", "links"),
    "commoncrawl": ("links", "links"),
    "fetch": ("links", "pages"),
    "extract": ("pages", "documents"),
}

Phase = Mapping[str, Any]


def section(sources: Sources) -> Section:
    """Return the section, or how to build the dataset it needs."""
    if sources.dataset is None:
        return Section(name=NAME, title=TITLE, remedy="no dataset here; `loglinear data CONFIG` builds one")
    phases, manifest = sources.phases, sources.manifest
    values = {
        "figure": _figure(phases) if phases else None,
        "phases": _phases(phases),
        "why": _why(phases),
        "reasons": _reasons(phases),
        "overlap": _overlap(phases),
        "bloom": next(
            (phase["extra"]["bloom"] for phase in phases if "bloom" in phase.get("extra", {})), None
        ),
        "splits": _splits(manifest) if manifest else None,
        "manifest": manifest,
        "site_pages": len(site["pages"]) if (site := sources.extra("site/index.json")) else None,
    }
    return Section(name=NAME, title=TITLE, template="funnel.html.j2", values=values)


def units(phase: Phase) -> tuple[str, str]:
    """Return what goes into a phase and what comes out of it."""
    return UNITS.get(phase["name"], ("documents", "documents"))


def _phases(phases: Sequence[Phase]) -> Table:
    rows = [
        (
            phase["name"],
            f"{numbers.count(phase['documents_in'])} {units(phase)[0]}",
            f"{numbers.count(phase['documents_out'])} {units(phase)[1]}",
            numbers.count(sum(phase["dropped"].values())),
            numbers.percent(
                phase["documents_out"] / phase["documents_in"] if phase["documents_in"] else None
            ),
            _bytes_out(phase),
            numbers.duration(phase.get("seconds")),
        )
        for phase in phases
    ]
    return Table(head=("phase", "in", "out", "dropped", "kept", "bytes out", "time"), rows=rows)


def _bytes_out(phase: Phase) -> str:
    """Return the bytes a phase wrote: of text, or of pages as fetched; nothing where it counts none."""
    found = next((phase["extra"][key] for key in ("bytes_out", "bytes") if key in phase.get("extra", {})), "")
    return found if found == "" else numbers.size(found)


def _reasons(phases: Sequence[Phase]) -> Table:
    rows = []
    for phase in phases:
        for reason, number in sorted(phase["dropped"].items(), key=lambda item: (-item[1], item[0])):
            words = in_words(reason, phase["name"])
            rows.append((phase["name"], words, numbers.count(number), _share(number, phase["documents_in"])))
        removed = phase.get("extra", {}).get("paragraphs_removed")
        if removed is not None:
            what = "repeated paragraphs (their documents stay)"
            rows.append((phase["name"], what, numbers.count(removed), ""))
    return Table(head=("phase", "reason", "dropped", "of its input"), rows=rows, labels=2)


def _overlap(phases: Sequence[Phase]) -> Table | None:
    """Return the table like the paper's: of the n-grams of a set, how many stand in which text."""
    found = next((phase["extra"]["overlap"] for phase in phases if "overlap" in phase.get("extra", {})), None)
    if not found:
        return None
    columns = {
        "percent_own_training": "in its own training text, %",
        "percent_before": "in training text before, %",
        "percent_after": "after, %",
        "percent_bloom": "by the Bloom filter, %",
    }
    used = [key for key in columns if any(key in row for row in found.values())]
    rows = [
        (
            name,
            numbers.count(row.get("ngrams")),
            *(numbers.fixed(row[key], 2) if key in row else "" for key in used),
        )
        for name, row in found.items()
    ]
    return Table(head=("held-out text", "n-grams", *(columns[key] for key in used)), rows=rows)


def _splits(manifest: Manifest) -> Table:
    rows = []
    for split, shards in manifest.splits.items():
        documents, tokens = sum(shard.documents for shard in shards), manifest.tokens(split)
        text = manifest.text_bytes.get(split)
        per_token = text / tokens if text and tokens else None
        rows.append(
            (
                split,
                numbers.count(documents),
                numbers.count(tokens),
                numbers.size(text),
                numbers.fixed(per_token, 2),
            )
        )
    return Table(head=("split", "documents", "tokens", "text", "bytes per token"), rows=rows)


def _figure(phases: Sequence[Phase]) -> Figure:
    def paint(canvas: Canvas) -> None:
        axes, places = canvas.axes, range(len(phases))
        kept = [phase["documents_out"] for phase in phases]
        gone = [sum(phase["dropped"].values()) for phase in phases]
        axes.barh(places, kept, height=0.56, color=BAR.sentinel, linewidth=0)
        axes.barh(places, gone, left=kept, height=0.56, color=RULE.sentinel, linewidth=0)
        most = max((a + b for a, b in zip(kept, gone, strict=True)), default=1)
        for place, phase, total in zip(
            places, phases, (a + b for a, b in zip(kept, gone, strict=True)), strict=True
        ):
            text = numbers.count(phase["documents_out"])
            if not canvas.is_narrow:
                text = f"{text} {units(phase)[1]}{_main_reason(phase)}"
            axes.text(total + most * 0.012, place, text, va="center", color=INK.sentinel, fontsize=11)
        axes.set_yticks(places, [shortened(phase["name"]) for phase in phases], color=MUTED.sentinel)
        axes.tick_params(length=0)
        axes.set_xticks([])
        axes.grid(False)
        axes.invert_yaxis()
        axes.set_xlim(0, most * (1.3 if canvas.is_narrow else 1.75))
        for side in axes.spines.values():
            side.set_visible(False)

    said = "; ".join(
        f"{phase['name']}: {phase['documents_in']} in, {phase['documents_out']} out" for phase in phases
    )
    height = 40 + 34 * len(phases)
    return draw(
        "funnel",
        paint,
        title="What each phase kept",
        description=said,
        caption="What each phase kept (coloured) and dropped (grey), with the most frequent reason. "
        "The unit changes on the way: submissions become links, links pages, pages documents.",
        heights=(height, height),
    )


def _why(phases: Sequence[Phase]) -> Figure | None:
    """Draw the most frequent reasons of the phases that handle documents; links and pages are other units."""
    counts = {
        f"{phase['name']}: {in_words(reason, phase['name'])}": number
        for phase in phases
        if units(phase)[0] == "documents"
        for reason, number in phase["dropped"].items()
    }
    return across(
        "reasons",
        counts,
        title="Why documents were dropped",
        caption="The most frequent reasons for which documents were dropped, by phase.",
    )


def _main_reason(phase: Phase) -> str:
    if not phase["dropped"]:
        return ""
    reason, dropped = max(phase["dropped"].items(), key=lambda item: item[1])
    words = shortened(in_words(reason, phase["name"]))
    return f"  ({words}: {numbers.count(dropped)})" if dropped else ""


def _share(number: int, whole: int) -> str:
    return numbers.percent(number / whole if whole else None)
