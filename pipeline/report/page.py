"""Writes DIR/report.html, one file that needs no other, from what a dataset, run, study, evaluation or
quickstart has; beside a study's its figures as files and a Markdown summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from pipeline.errors import FormatError
from pipeline.formats.manifest import NAME as MANIFEST
from pipeline.formats.publish import write_text
from pipeline.report import (
    anchors,
    answers,
    arms,
    beside,
    building,
    claim,
    commands,
    comparison,
    compute,
    corpus,
    curves,
    environment,
    evaluation,
    examples,
    finetuned,
    fits,
    forms,
    funnel,
    growth,
    mistakes,
    numbers,
    overlaps,
    palette,
    paper,
    parity,
    progress,
    rates,
    reach,
    result,
    samples,
    series,
    summary,
    two_step,
    zero_shot,
)
from pipeline.report.section import Section
from pipeline.report.sources import Sources, find

NAME = "report.html"
FINISHED = (MANIFEST, "verdict.json", "comparison.json")
"""What is there last: by it a dataset, a study and a comparison are known to be whole."""

_DATA = (funnel.section, examples.section, corpus.section)
_END = (environment.section, commands.section)
_LAWS = (
    arms.section, series.section, fits.section, forms.section, compute.section, growth.section,
    two_step.section, reach.section, anchors.section,
)  # fmt: skip
SECTIONS: Mapping[str, tuple[Callable[[Sources], Section], ...]] = {
    "dataset": (*_DATA, commands.section),
    "run": (curves.section, evaluation.section, samples.section, *_END),
    "finetuning": (finetuned.section, mistakes.section, *_END),
    "comparison": (comparison.section, zero_shot.section, curves.section, *_END),
    "results": (evaluation.section, samples.section, commands.section),
    "study": (
        claim.section, result.section, *_LAWS, rates.section, evaluation.section, curves.section,
        samples.section, *_END,
    ),
    "sweep": (rates.section, evaluation.section, curves.section, *_END),
    "quickstart": (
        claim.section, result.section, *_LAWS, evaluation.section, curves.section, samples.section,
        *_DATA, rates.section, parity.section, *_END,
    ),
}  # fmt: skip


def renew(directory: Path) -> None:
    """Write the report of a finished dataset or study, unless it stands already."""
    report = directory / NAME
    finished = next((path for name in FINISHED if (path := directory / name).is_file()), None)
    if finished and not (report.is_file() and report.stat().st_mtime_ns >= finished.stat().st_mtime_ns):
        write(directory)


def write(directory: Path) -> Path:
    """Write the report of a directory and return its path; ConfigError if there is nothing to report on.

    Figures of the paper's tasks are written as a Markdown table too, a study's figures as files of their own.
    """
    sources = find(directory)
    path = directory / NAME
    sections = list(_built(sources))
    write_text(path, _page(sources, sections))
    if rows := paper.rows(sources.runs):
        write_text(paper.markdown_path(sources), paper.markdown(rows))
    if sources.kind in beside.KINDS:
        beside.write(directory, *summary.title(sources), summary.sentences(sources), sections)
    return path


def render(sources: Sources) -> str:
    """Return the page; the same files give the same bytes."""
    return _page(sources, list(_built(sources)))


def _page(sources: Sources, sections: Sequence[Section]) -> str:
    templates = _templates()
    kind, headline = summary.title(sources)
    return templates.get_template("page.html.j2").render(
        kind=kind,
        headline=headline,
        sentences=summary.sentences(sources),
        parts=[_part(templates, section) for section in sections],
        light=Markup(palette.variables("light")),
        dark=Markup(palette.variables("dark")),
    )


def _built(sources: Sources) -> Iterator[Section]:
    for build in _sections(sources):
        section = _section(build, sources)
        if section.wanted:
            yield section


def _sections(sources: Sources) -> Iterator[Callable[[Sources], Section]]:
    if sources.dataset and not sources.manifest:
        yield building.section
    for build in SECTIONS[sources.kind]:
        if build is evaluation.section:
            yield from _of_tasks(sources)
        yield build


def _of_tasks(sources: Sources) -> Iterator[Callable[[Sources], Section]]:
    """Yield what tells of checkpoints along a run, and of the paper's tasks: most runs need none of it."""
    if progress.curves_of(sources):
        yield progress.section
    if paper.rows(sources.runs):
        yield paper.section
        yield overlaps.section
        yield answers.section


def code_spans(text: str) -> Markup:
    """Return escaped text with what stands between backticks as code."""
    parts = text.split("`")
    marked = (
        Markup("<code>{}</code>").format(part) if n % 2 else escape(part) for n, part in enumerate(parts)
    )
    return Markup("").join(marked)


def _section(build: Callable[[Sources], Section], sources: Sources) -> Section:
    try:
        return build(sources)
    except (KeyError, TypeError, AttributeError) as fault:
        name = build.__module__.rpartition(".")[2]
        raise FormatError(
            f"{sources.root}: the files behind the section `{name}` are not as this version writes them "
            f"({type(fault).__name__}: {fault}); make them again with this version"
        ) from fault


def _part(templates: Environment, section: Section) -> dict[str, Any]:
    values = {"blocks": section.blocks, **section.values}
    body = None if section.remedy else Markup(templates.get_template(section.template).render(values))  # noqa: S704
    return {
        "name": section.name,
        "title": section.title,
        "remedy": section.remedy[:1].upper() + section.remedy[1:],
        "body": body,
    }


def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["code_spans"] = code_spans
    templates.globals["missing"] = numbers.MISSING
    return templates
