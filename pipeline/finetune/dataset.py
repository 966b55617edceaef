"""What fine-tuning learns from: labelled examples of five kinds, and a dataset of them with its splits.

Each file of `datasets/` is one dataset, with a `Config` whose `build` returns it. Texts are stripped of white
space at both ends and otherwise as they were published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pipeline.config import Schema, did_you_mean, identity
from pipeline.errors import ConfigError, FormatError
from pipeline.formats.source import Source, read

Kind = Literal["classification", "entailment", "similarity", "choice", "span"]
PUBLIC = ("train", "validation")
"""How the names of splits begin whose labels everybody knows."""
Label = int | float | None
"""The number of a class or of an answer, a score, or None where the label is kept secret."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """What all examples have: a name in their file, their place (`file:line`) for messages, a label.

    Examples of one `cluster` (a passage) resemble each other; without one an example stands alone. Figures
    are also told by `group`, where there is one.
    """

    id: str = ""
    place: str = ""
    label: Label = None
    cluster: str = ""
    group: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts that must not be empty."""
        raise NotImplementedError

    @property
    def labelled(self) -> bool:
        """Whether the answer is known."""
        return self.label is not None


@dataclass(frozen=True, kw_only=True)
class Text(Example):
    """One text to be classified."""

    text: str

    @property
    def texts(self) -> tuple[str, ...]:
        """The text."""
        return (self.text,)


@dataclass(frozen=True, kw_only=True)
class Pair(Example):
    """Two texts: premise and hypothesis, in this order, or two whose likeness has none."""

    first: str
    second: str

    @property
    def texts(self) -> tuple[str, ...]:
        """Both texts."""
        return self.first, self.second


@dataclass(frozen=True, kw_only=True)
class Choice(Example):
    """A passage, a question on it (empty where there is none) and its answers; the label numbers the right
    one.
    """

    context: str
    question: str
    answers: tuple[str, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The passage and the answers; a story's ending answers no question."""
        return self.context, *self.answers


@dataclass(frozen=True, kw_only=True)
class Span(Example):
    """A passage and a question that pieces of it answer: (first character, text), as many as people gave."""

    context: str
    question: str
    answers: tuple[tuple[int, str], ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The passage, the question and the answers."""
        return self.context, self.question, *(text for _, text in self.answers)

    @property
    def labelled(self) -> bool:
        """Whether an answer is known."""
        return bool(self.answers)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A row that is no example, where it stands and why; `by_rule` where the set's authors say so."""

    place: str = ""
    reason: str
    by_rule: bool = False


Row = Example | LeftOut


class Rules(Schema):
    """What all datasets are asked: what to do with rows that lack something."""

    incomplete: Literal["refuse", "leave_out"] = identity(
        "refuse", description="rows with a column too few or an empty text: an error, or left out and counted"
    )


@dataclass(frozen=True)
class Split:
    """The examples of a split, a hash of their files, and how many rows were left out, by reason."""

    examples: Sequence[Example]
    sha256: str
    left_out: Mapping[str, int]
    told: str
    """How many there are, were published and were left out, in one line."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A labelled dataset: where its splits come from and how it is judged.

    `labels` are the classes by number; without any, labels are scores between the ends of `scale`. The first
    of `metrics` chooses the best checkpoint. `published` are the examples of each split as others count them.
    `submission` names the file in which GLUE's server, or SQuAD's script, takes predictions for a split.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...] = ()
    scale: tuple[float, float] | None = None
    metrics: tuple[str, ...]
    splits: Mapping[str, Source[Row]]
    published: Mapping[str, int]
    submission: Mapping[str, str] = field(default_factory=dict)
    incomplete: str = "refuse"

    def read(self, split: str, folder: Path | None, check_sums: bool = True) -> Split:
        """Return the examples of a split below a folder; without a folder, by name through `datasets`.

        Raises ConfigError for a split there is none of, MissingSet where its files are not there, FormatError
        with file and line for a row that is wrong or, unless they may be left out, lacks something.
        """
        if split not in self.splits:
            near = did_you_mean(split, list(self.splits))
            raise ConfigError(f"{self.name} has no split {split}{near}; there are {', '.join(self.splits)}")
        source = self.splits[split]
        rows = read(source, folder, check_sums)
        hub = source.hub.path if source.hub else source.name
        placed = [_placed(row, number, hub) for number, row in enumerate(rows.rows)]
        examples = [row for row in placed if isinstance(row, Example)]
        out = [row for row in placed if isinstance(row, LeftOut)]
        self._check(split, examples, out)
        left_out = dict(Counter(row.reason for row in out))
        return Split(examples, rows.sha256, left_out, self._told(split, len(examples), left_out))

    def _check(self, split: str, examples: Sequence[Example], out: Sequence[LeftOut]) -> None:
        refused = [row for row in out if not row.by_rule]
        if refused and self.incomplete == "refuse":
            raise FormatError(
                f"{refused[0].place}: {refused[0].reason}; mend the row, or set incomplete: leave_out to go "
                f"on without it and its like ({len(refused)} in {self.name}'s {split} split)"
            )
        if not examples:
            raise FormatError(
                f"{self.name}: the {split} split has no example but {len(out)} rows left out; get it anew"
            )
        secret = next((example for example in examples if not example.labelled), None)
        if secret and split.startswith(PUBLIC):
            raise FormatError(
                f"{secret.place}: no label; the {split} split needs one in every row; get it anew"
            )

    def _told(self, split: str, examples: int, left_out: Mapping[str, int]) -> str:
        published = self.published.get(split)
        count = f"{examples:,} examples"
        if published and published != examples:
            count += f" ({published:,} were published)"
        out = "".join(f", {count:,} left out ({reason})" for reason, count in left_out.items())
        return f"{self.name} {split}: {count}{out}"


def _placed(row: Row, number: int, hub: str) -> Row:
    """Return a row with its place, and left out if a text of it is empty; rows by name come without."""
    place = row.place or f"{hub}, row {number}"
    if isinstance(row, LeftOut):
        return replace(row, place=place)
    if not all(text.strip() for text in row.texts):
        return LeftOut(place=place, reason="a text is empty")
    return row if row.id and row.place else replace(row, place=place, id=row.id or str(number))
