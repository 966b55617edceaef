"""Writes DIR/report.html, one file that needs no other, from what a dataset, run, study, evaluation or
quickstart has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from pipeline.errors import FormatError
from pipeline.formats.manifest import NAME as MANIFEST
from pipeline.formats.publish import write_text
from pipeline.report import (
    answers,
    building,
    commands,
    comparison,
    corpus,
    curves,
    environment,
    evaluation,
    examples,
    finetuned,
    fits,
    funnel,
    mistakes,
    numbers,
    overlaps,
    palette,
    paper,
    parity,
    progress,
    rates,
    result,
    samples,
    summary,
)
from pipeline.report.section import Section
from pipeline.report.sources import Sources, find

NAME = "report.html"

_DATA = (funnel.section, examples.section, corpus.section)
_END = (environment.section, commands.section)
SECTIONS: Mapping[str, tuple[Callable[[Sources], Section], ...]] = {
    "dataset": (*_DATA, commands.section),
    "run": (curves.section, evaluation.section, samples.section, *_END),
    "finetuning": (finetuned.section, mistakes.section, *_END),
    "comparison": (comparison.section, curves.section, *_END),
    "results": (evaluation.section, samples.section, commands.section),
    "study": (
        result.section, fits.section, evaluation.section, curves.section, rates.section, samples.section,
        *_END,
    ),
    "sweep": (rates.section, evaluation.section, curves.section, *_END),
    "quickstart": (
        result.section, fits.section, evaluation.section, curves.section, samples.section, *_DATA,
        rates.section, parity.section, *_END,
    ),
}  # fmt: skip


def renew(dataset: Path) -> None:
    """Write the report of a published dataset, unless it stands already."""
    manifest, report = dataset / MANIFEST, dataset / NAME
    if manifest.is_file() and not (
        report.is_file() and report.stat().st_mtime_ns >= manifest.stat().st_mtime_ns
    ):
        write(dataset)


def write(directory: Path) -> Path:
    """Write the report of a directory and return its path; ConfigError if there is nothing to report on.

    Figures of the paper's tasks are written as a Markdown table too.
    """
    sources = find(directory)
    path = directory / NAME
    write_text(path, render(sources))
    if rows := paper.rows(sources.runs):
        write_text(paper.markdown_path(sources), paper.markdown(rows))
    return path


def render(sources: Sources) -> str:
    """Return the page; the same files give the same bytes."""
    templates = _templates()
    kind, headline = summary.title(sources)
    parts = [_part(templates, _built(build, sources)) for build in _sections(sources)]
    return templates.get_template("page.html.j2").render(
        kind=kind,
        headline=headline,
        sentences=summary.sentences(sources),
        parts=parts,
        light=Markup(palette.variables("light")),
        dark=Markup(palette.variables("dark")),
    )


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


def _built(build: Callable[[Sources], Section], sources: Sources) -> Section:
    try:
        return build(sources)
    except (KeyError, TypeError, AttributeError) as fault:
        name = build.__module__.rpartition(".")[2]
        raise FormatError(
            f"{sources.root}: the files behind the section `{name}` are not as this version writes them "
            f"({type(fault).__name__}: {fault}); make them again with this version"
        ) from fault


def _part(templates: Environment, section: Section) -> dict[str, Any]:
    body = None if section.remedy else Markup(templates.get_template(section.template).render(section.values))  # noqa: S704
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
