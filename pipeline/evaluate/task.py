"""What an evaluation asks of a model: tasks, their examples, and requests answered by replies.

A task is pure: it makes requests from examples and scores from replies, and never sees the model. A scorer
answers requests, and never sees the task. Each file of `tasks/` is one kind, with a `Config` whose `build`
returns the task.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from model.tokenizer import Tokenizer
from pipeline.formats.manifest import NAME as MANIFEST
from pipeline.formats.manifest import Manifest
from pipeline.formats.shards import TokenShard, check_shard
from pipeline.formats.source import MissingSet, Row, Rows, Source, read
from pipeline.metrics import Estimate


@dataclass(frozen=True, kw_only=True)
class LogLikelihood:
    """Ask for the loss of `target` after `context` (both ids); if `greedy`, whether it is the likeliest, and
    which ids are; then `without` are ids to be passed over at its first place, in a second answer."""

    context: tuple[int, ...]
    target: tuple[int, ...]
    greedy: bool = False
    without: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Generation:
    """Ask for up to `max_new_tokens` ids after `prompt`, drawn by `seed`; temperature 0 is greedy.

    The reply ends before one of `stop_ids`, and before a text of `stop` wherever ids cut it. If `nats`, it
    says how likely each of its ids was to the model, before temperature, top-k and top-p.
    """

    prompt: tuple[int, ...]
    max_new_tokens: int
    seed: int = 0
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    stop_ids: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()
    nats: bool = False


Request = LogLikelihood | Generation


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer: to a log-likelihood, the nats of the target's ids and `greedy`; to a generation, `ids` and
    their `text`, and the ids' nats if asked.

    A text ends right before its stop string; `ids` are then those that lie wholly before it. `likeliest` is
    the likeliest id at each place of the target, given those before it; `instead` is the likeliest at the
    first place apart from those to be passed over. Both only if `greedy` was asked.
    """

    nats: tuple[float, ...] = ()
    greedy: bool | None = None
    likeliest: tuple[int, ...] = ()
    instead: int | None = None
    ids: tuple[int, ...] = ()
    text: str = ""


class Answering(Protocol):
    """Whatever answers requests: a scorer, the processes of a job, a test's script."""

    def answer(self, requests: Sequence[Request]) -> Sequence[Reply]:
        """Return the reply to each request, in their order."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One thing to be scored: its number in the task, and what the task needs to know of it."""

    number: int
    content: Any


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A named estimate over a task's examples."""

    name: str
    estimate: Estimate


class Task(Protocol):
    """A set of examples with its protocol."""

    name: str
    protocol: str
    """All that decides the figure: what is scored, context, stride, detokenizer, scoring mode."""
    data_sha256: str

    def examples(self) -> Sequence[Example]:
        """Return the examples, the same at every call."""

    def requests(self, example: Example) -> Sequence[Request]:
        """Return what the model is asked for an example."""

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return the record of an example, plain JSON: what `metrics` needs and a reader wants to see."""

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return the figures of all records."""


@runtime_checkable
class AboutOthers(Task, Protocol):
    """A task about the examples of a suite's other tasks: which of them overlap with the training data."""

    def over(self, tasks: Sequence[Task]) -> None:
        """Be about these tasks; before all else."""

    def left_out(self, records: Sequence[dict[str, Any]]) -> Mapping[str, Collection[int]]:
        """Return the numbers of the examples, by task, that its records leave out."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What tasks are built from: the data, the tokenizer and context of the model to answer, limits.

    `data` is the folder of evaluation sets, None to have them by name; `corpus` a dataset of ours.
    """

    data: Path | None = None
    corpus: Path | None = None
    check_sums: bool = True
    tokenizer: Tokenizer
    n_ctx: int
    limit: int | None = None
    seed: int = 0

    def rows(self, source: Source[Row]) -> Rows[Row]:
        """Return the rows of an evaluation set; MissingSet, a ConfigError, where it is not there."""
        return read(source, self.data, self.check_sums)

    @cached_property
    def dataset(self) -> Path:
        """The directory of the corpus; MissingSet where there is none."""
        if self.corpus is None:
            raise MissingSet("held-out text: no dataset was given; give corpus=DIR, or data=DIR of one")
        if not (self.corpus / MANIFEST).is_file():
            remedy = "build one with `loglinear data`, or give corpus=DIR"
            raise MissingSet(f"held-out text: {self.corpus} is no dataset; {remedy}")
        return self.corpus

    @cached_property
    def manifest(self) -> Manifest:
        """The corpus's manifest; FormatError if there is none."""
        return Manifest.read(self.dataset)

    def documents(self, split: str) -> Iterator[str]:
        """Yield the texts of a split in their order, once its shards are checked."""
        self.manifest.tokens(split)  # names the splits there are
        written_by = self.manifest.load_tokenizer(self.dataset)
        for shard in self.manifest.splits[split]:
            check_shard(self.dataset, shard, self.manifest.dtype)
            content = TokenShard(self.dataset / shard.name, self.manifest.dtype)
            start = 0
            for end in content.ends.tolist():
                yield written_by.decode(content.tokens[start : end - 1].tolist())  # without end of text
                start = end

    def split_sha256(self, split: str) -> str:
        """Return a hash of a split's shards."""
        self.manifest.tokens(split)
        sums = "\n".join(shard.sha256 for shard in self.manifest.splits[split])
        return hashlib.sha256(sums.encode()).hexdigest()
