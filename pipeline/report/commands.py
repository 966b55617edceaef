"""The commands that make the same again."""

from __future__ import annotations

import shlex

from pipeline.report.section import Section
from pipeline.report.sources import Sources

NAME, TITLE = "commands", "Do it again"
FILE = "commands.json"
VERBS = {
    "dataset": "data",
    "run": "train",
    "finetuning": "finetune",
    "study": "study",
    "comparison": "study",
    "sweep": "study",
}


def section(sources: Sources) -> Section:
    """Return the section: the recorded commands, or the one that the directory's own configuration gives.

    Nothing where there is neither, but in a quickstart, which writes them.
    """
    commands = sources.extra(FILE)
    config = sources.root / "config.yaml"
    if not commands and sources.kind in VERBS and config.is_file():
        commands = [f"loglinear {VERBS[sources.kind]} {shlex.quote(str(config))}"]
    if not commands and sources.kind != "quickstart":
        return Section(name=NAME, title=TITLE)
    if not commands:
        remedy = f"no {FILE} here; `loglinear quickstart` writes it"
        return Section(name=NAME, title=TITLE, remedy=remedy)
    return Section(name=NAME, title=TITLE, template="commands.html.j2", values={"commands": commands})
