"""Tables of labelled texts, as they are published: a row a line, its columns apart by tabs.

GLUE's files quote nothing, so a quotation mark is one; others were written by a CSV writer, which doubles
them. Some have a line of names on top, some do not. A set lists its forms, and the first line of a file
tells which of them it has.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from pipeline.errors import FormatError
from pipeline.finetune.dataset import Example, Label, LeftOut, Pair, Row, Text

NO_AGREEMENT = "its annotators agreed on no label"
ReadLabel = Callable[[str], Label]
Line = tuple[int, list[str]]


@dataclass(frozen=True, kw_only=True)
class Form:
    """One way in which a set is written: in which columns its texts (one or two), label and id stand.

    `order` names the columns of a file without a line of names, `least` how many of them a row must have. A
    label in `no_label` means that the set's authors give none, so the row is left out.
    """

    texts: tuple[str, ...]
    label: str
    read: ReadLabel
    id: str | None = None
    cluster: str | None = None
    no_label: str | None = None
    quoted: bool = False
    order: tuple[str, ...] = ()
    least: int = 0

    def lacks(self, top: Sequence[str], secret: bool) -> list[str]:
        """Return the columns that a file with this first line lacks; with `secret`, the label may be."""
        if self.order:
            return [] if (self.least or len(self.order)) <= len(top) <= len(self.order) else [*self.order]
        needed = [*self.texts, *([self.id] if self.id else []), *([] if secret else [self.label])]
        return [name for name in needed if name not in top]


def named(*names: str) -> ReadLabel:
    """Return a reader of labels that are spelled out, numbered in this order."""
    return _chosen({name: number for number, name in enumerate(names)})


def numbered(classes: int) -> ReadLabel:
    """Return a reader of labels that are numbers from 0; -1 is a secret one."""
    return _chosen({"-1": None} | {str(number): number for number in range(classes)})


def score(low: float, high: float) -> ReadLabel:
    """Return a reader of scores from `low` to `high`."""

    def read(label: str) -> float:
        try:
            value = float(label)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"label {label!r} is no number from {low:g} to {high:g}")
        return value

    return read


def _chosen(labels: Mapping[str, int | None]) -> ReadLabel:
    def read(label: str) -> int | None:
        if label not in labels:
            raise ValueError(f"label {label!r} is unknown (there are {', '.join(labels)})")
        return labels[label]

    return read


def rows(files: Sequence[Path], forms: Sequence[Form], secret: bool = False) -> list[Row]:
    """Return the rows of some tables, one after the other; with `secret`, the label's column may be missing.

    A row with a column too few or too many is left out. One without an id of its own goes by its number in
    all files. Raises FormatError with file and line for missing columns, unknown labels and what is no UTF-8.
    """
    numbers = count()
    return [row for path in files for row in _table(path, forms, secret, numbers)]


def _table(path: Path, forms: Sequence[Form], secret: bool, numbers: Iterator[int]) -> Iterator[Row]:
    top = next(fields for _, fields in plain_lines(path))
    form = _form(path, forms, top, secret)
    names = form.order or top
    width = form.least or len(names)
    lines = quoted_lines(path) if form.quoted else plain_lines(path)
    for line, fields in islice(lines, 0 if form.order else 1, None):
        number = next(numbers)
        if not width <= len(fields) <= len(names):
            yield LeftOut(place=f"{path}:{line}", reason=f"{len(fields)} columns instead of {width}")
        else:
            content = dict(zip(names, map(str.strip, fields), strict=False))
            yield _row(form, content, f"{path}:{line}", number)


def _form(path: Path, forms: Sequence[Form], top: Sequence[str], secret: bool) -> Form:
    """Return the form that a file's first line shows; FormatError naming the columns that it lacks."""
    names = {name for form in forms if not form.order for name in (*form.texts, form.label)}
    nameless = not names.intersection(top) and any(form.order for form in forms)
    fitting = {form: form.lacks(top, secret) for form in forms if bool(form.order) == nameless}
    form, lacks = min(fitting.items(), key=lambda item: len(item[1]))
    if not lacks:
        return form
    fault = f"{len(top)} columns instead of" if nameless else "no column"
    there = "" if nameless else f" (there are {', '.join(top)})"
    raise FormatError(f"{path}:1: {fault} {', '.join(lacks)}{there}; get the file anew")


def _row(form: Form, content: Mapping[str, str], place: str, number: int) -> Row:
    label = content.get(form.label)
    if label is not None and label == form.no_label:
        return LeftOut(place=place, reason=NO_AGREEMENT, by_rule=True)
    try:
        known = None if label is None else form.read(label)
    except ValueError as fault:
        raise FormatError(f"{place}: {fault}; mend the row or get the file anew") from None
    id = content[form.id] if form.id else str(number)
    cluster = content.get(form.cluster, "") if form.cluster else ""
    return example([content[name] for name in form.texts], label=known, id=id, place=place, cluster=cluster)


def example(texts: Sequence[str], label: Label, id: str = "", place: str = "", cluster: str = "") -> Example:
    """Return the example of one text or of two."""
    if len(texts) == 1:
        return Text(text=texts[0], label=label, id=id, place=place, cluster=cluster)
    first, second = texts
    return Pair(first=first, second=second, label=label, id=id, place=place, cluster=cluster)


def plain_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a file with their numbers, cut at tabs; an empty one at the very end is none."""
    lines = text_of(path).removesuffix("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        yield number, line.removesuffix("\r").split("\t")


def quoted_lines(path: Path, delimiter: str = "\t") -> Iterator[Line]:
    """Yield the rows that a CSV writer wrote, with the number of the line that each begins in."""
    reader = csv.reader(io.StringIO(text_of(path), newline=""), delimiter=delimiter, strict=True)
    first = 1
    try:
        for fields in reader:
            yield first, fields
            first = reader.line_num + 1
    except csv.Error as fault:
        raise FormatError(f"{path}:{first}: {fault}; mend the row or get the file anew") from None


def text_of(path: Path) -> str:
    """Return a file's text without the mark of its encoding; FormatError with the line that is no UTF-8."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = content.count(b"\n", 0, fault.start) + 1
        raise FormatError(f"{path}:{line}: not UTF-8 ({fault.reason}); get the file anew") from None
