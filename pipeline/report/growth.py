"""One size at growing data: what more tokens bring where the network stays the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report import forms
from pipeline.report.ladder import Ladder
from pipeline.report.result import said
from pipeline.report.section import Block, Heading, Points, Section
from pipeline.report.sources import Sources
from pipeline.report.studied import Study

NAME, TITLE = "growth", "More data at the same size"


def section(sources: Sources) -> Section:
    """Return the section; none where no arm lets the data grow."""
    study = sources.study
    blocks: list[Block] = []
    for arm in study.arms if study else ():
        for law in arm.get("laws") or ():
            assert study is not None
            blocks.append(Heading(f"{law['rung']} in arm {arm['name']}: {arm['words']}"))
            blocks += _law(study, str(arm["name"]), law)
    return Section(name=NAME, title=TITLE, blocks=blocks)


def _law(study: Study, arm: str, law: Mapping[str, Any]) -> list[Block]:
    laws: Mapping[str, list[Mapping[str, Any]]] = law["residuals"] or {}
    measured = next(iter(laws.values()), [])
    points = [(row["x"], row["value"], row["name"]) for row in measured]
    ladder = Ladder(metric=law["metric"], abscissa=law["abscissa"], below=points, largest=())
    noise = (law["noise"] or {}).get("value")
    drawn = forms.drawn(ladder, study.fits_of(law), noise, arm=f"{arm} {law['rung']}")
    return [*drawn, Points([said(line, law["metric"]) for line in law["summary"]])]
