"""What a fine-tuned network took for what, and the examples it was surest of and wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.formats.results import RECORDS_SUFFIX, read_records
from pipeline.report import numbers
from pipeline.report.section import Section, Table
from pipeline.report.sources import Sources, Trained

NAME, TITLE = "mistakes", "Taken for what"
SPLIT = "validation"
MOST_CLASSES = 12
SHOWN, CHARACTERS = 10, 600


def section(sources: Sources) -> Section:
    """Return the section of the seeds that are finished, or what it waits for."""
    found = [(trained, records) for trained in sources.runs if (records := records_of(trained))]
    if not found:
        remedy = "no predictions yet; the fine-tuning writes them when a seed is finished"
        return Section(name=NAME, title=TITLE, remedy=remedy)
    names = _names(found[0][0])
    values = {
        "table": confusion([record for _, records in found for record in records], names),
        "examples": [_shown(example, names) for example in wrongest([records for _, records in found])],
        "seeds": len(found),
    }
    return Section(name=NAME, title=TITLE, template="mistakes.html.j2", values=values)


def records_of(trained: Trained) -> list[dict[str, Any]]:
    """Return the predictions of a finished seed for the validation split; none of one that is not."""
    paths = sorted(trained.run.results.glob(f"*/{SPLIT}{RECORDS_SUFFIX}"))
    return read_records(paths[-1]) if paths else []


def confusion(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table | None:
    """Return how often each class (rows) was taken for each (columns), over all seeds.

    Scores count as the whole number beside them. None for answers in words, and of very many classes.
    """
    pairs = [(record["label"], record["prediction"]) for record in records]
    if not all(isinstance(value, int | float) for pair in pairs for value in pair):
        return None
    counts = Counter((round(label), round(found)) for label, found in pairs)
    classes = sorted({value for pair in counts for value in pair})
    if len(classes) > MOST_CLASSES:
        return None
    rows = []
    for label in classes:
        told = [counts[label, found] for found in classes]
        share = counts[label, label] / sum(told) if sum(told) else None
        rows.append((_name(label, names), *map(numbers.count, told), numbers.percent(share)))
    head = ("is, taken for", *(_name(each, names) for each in classes), "right")
    return Table(head=head, rows=rows, caption="Examples of the validation split, over all seeds together.")


def wrongest(of_seeds: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the examples that most seeds got wrong, those first whose right answer was the least likely."""
    examples: dict[int, dict[str, Any]] = {}
    for records in of_seeds:
        for record in records:
            one = examples.setdefault(record["number"], {**record, "wrong": 0, "sum": 0.0, "told": []})
            one["wrong"] += _is_wrong(record)
            one["sum"] += record["nats"] or 0.0
            one["told"].append(record["prediction"])
    missed = [one for one in examples.values() if one["wrong"]]
    return sorted(missed, key=lambda one: (-one["wrong"], -one["sum"], one["number"]))[:SHOWN]


def _is_wrong(record: Mapping[str, Any]) -> bool:
    label, told = record["label"], record["prediction"]
    if isinstance(label, float) or isinstance(told, float):
        return bool(abs(label - told) >= 1.0)  # a score that is more than a step away
    return bool(label is not None and told != label)


def _shown(example: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    told = dict.fromkeys(_name(each, names) for each in example["told"])
    return {
        "place": example["place"],
        "label": _name(example["label"], names),
        "told": ", ".join(told),
        "wrong": f"{example['wrong']} of {len(example['told'])} seeds",
        "text": text_at(example["place"]),
    }


def text_at(place: str) -> str:
    """Return the line of a dataset's file that an example came from, empty if it cannot be read here."""
    name, _, line = place.rpartition(":")
    path = Path(name)
    if not line.isdigit() or path.suffix not in (".tsv", ".txt", ".jsonl", ".csv") or not path.is_file():
        return ""
    with path.open(encoding="utf-8", errors="replace") as file:
        found = next(islice(file, int(line) - 1, None), "")
    text = " | ".join(part.strip() for part in found.split("\t"))
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]} …"


def _names(trained: Trained) -> list[str]:
    """Return the names of the classes, as the newest checkpoint's head has them."""
    paths = sorted(trained.run.checkpoint_folder.glob("*/model/head.json"))
    return list(json.loads(paths[-1].read_text(encoding="utf-8")).get("labels", [])) if paths else []


def _name(value: Any, names: Sequence[str]) -> str:
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return numbers.number(value, 3) if isinstance(value, float) else str(value)
