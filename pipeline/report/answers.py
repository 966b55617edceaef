"""Hits and misses for reading: of each task what the model was asked, what it answered, and the score."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.formats.paper import title_of
from pipeline.formats.results import RECORDS_SUFFIX, read_records
from pipeline.report import numbers
from pipeline.report.evaluation import scores_of
from pipeline.report.section import Section
from pipeline.report.sources import Sources, Trained

NAME, TITLE = "answers", "Hits and misses"
EACH = 2
CHARACTERS = 420
SCORES = ("hit", "exact_match", "f1", "sentence_bleu", "scores")
"""How the keys begin that hold an example's score; of several the first counts."""
HIDDEN = ("number", "bytes", "counts", "document", "answer_nats", "nats")
READ_FROM_END = ("prompt", "context", "passage", "text")
"""What the answer follows on: its end is what matters."""
_BLANK_LINES = re.compile(r"\n\s*\n\s*")


def section(sources: Sources) -> Section:
    """Return the section, or how to make records: of the largest model that has some."""
    for trained in reversed(sources.runs):
        if tasks := _tasks(trained):
            values = {"tasks": tasks, "model": trained.name}
            return Section(name=NAME, title=TITLE, template="answers.html.j2", values=values)
    remedy = "no answers to read; `loglinear evaluate` with a task that is right or wrong keeps them"
    return Section(name=NAME, title=TITLE, remedy=remedy)


def _tasks(trained: Trained) -> list[dict[str, Any]]:
    found = []
    for name in dict.fromkeys(score.task for score in scores_of(trained)):
        files = [folder / f"{name}{RECORDS_SUFFIX}" for folder in trained.result_folders]
        there = [path for path in files if path.is_file()]
        if there and (shown := hits_and_misses(read_records(there[-1]))):
            found.append({"task": title_of(name), "kinds": shown})
    return found


def hits_and_misses(records: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the best and the worst examples, drawn by the hash of their number where many are alike.

    Nothing where the records hold no score: then the task has no right or wrong.
    """
    scored = [(score, record) for record in records if (score := score_of(record)) is not None]
    if not scored:
        return []
    ordered = sorted(scored, key=lambda each: (-each[0], _place(each[1])))
    hits = [record for score, record in ordered[:EACH] if score > 0]
    lowest = sorted(scored, key=lambda each: (each[0], _place(each[1])))
    misses = [record for score, record in lowest[:EACH] if score < ordered[0][0] or score == 0]
    return [
        (kind, [_shown(record) for record in chosen])
        for kind, chosen in (("Hits", hits), ("Misses", misses))
        if chosen
    ]


def score_of(record: Mapping[str, Any]) -> float | None:
    """Return the score of an example, None where its record holds none."""
    for beginning in SCORES:
        for key, value in record.items():
            if not key.startswith(beginning):
                continue
            if isinstance(value, Mapping):  # of several summaries; the model's is the first
                value = next((each["rouge_average"] for each in value.values()), None)
            if isinstance(value, bool | int | float):
                return float(value)
    return None


def _place(record: Mapping[str, Any]) -> bytes:
    return hashlib.blake2b(str(record["number"]).encode(), digest_size=8).digest()


def _shown(record: Mapping[str, Any]) -> dict[str, Any]:
    parts = [
        (key.replace("_", " "), _text(key, value))
        for key, value in record.items()
        if not key.startswith(HIDDEN) and value not in (None, "", [], {})
    ]
    return {"number": numbers.count(record["number"]), "parts": parts}


def _text(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return numbers.number(value, 3)
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_text(key, each)}" for name, each in value.items())
    if isinstance(value, list):
        return " | ".join(dict.fromkeys(_text(key, each) for each in value))
    text = _BLANK_LINES.sub("\n\n", str(value)).strip() or "(blank)"
    if len(text) <= CHARACTERS:
        return text
    return f"… {text[-CHARACTERS:]}" if key in READ_FROM_END else f"{text[:CHARACTERS]} …"
