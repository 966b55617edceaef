"""What tests and samples have in common with the training documents: Table 6 and Figure 5 of the GPT-2 paper.

Table 6 is of the suite's other tasks, of each example as they ask it; their figures without the examples that
overlap come from here too. Figure 5 compares texts that the model writes, going on from held-out documents,
with these documents: does it repeat what it was trained on more than people do?
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import Schema, identity
from pipeline.errors import ConfigError
from pipeline.evaluate.overlap import SeenIn, Shared, shared, text_of, training_filter
from pipeline.evaluate.task import Example, Generation, Metric, Reply, Setting, Task
from pipeline.formats.hashes import ngram_hashes, normal_words, word_hashes
from pipeline.metrics import mean, median, ratio

GENERATIONS, HELD_OUT_TEXT = "generations", "held_out_text"
NOT_COMPARED = ("webtext",)
"""Its one half is the training text itself, its other is held-out text like that of Figure 5."""


class OwnTraining(Schema):
    """A set's own training text below the folder of sets: files of text, or the beginning of one."""

    files: list[str] = identity(min_length=1, description="paths or patterns; those that are there count")
    first_bytes: int | None = identity(None, ge=1, description="of each file; null for all")


# As the sets are published; of the 100 MB of enwik8 and text8 the first 90 are for training by custom.
OWN_TRAINING = {
    "ptb": OwnTraining(files=["simple-examples/data/ptb.train.txt", "ptb/ptb.train.txt"]),
    "wikitext2": OwnTraining(files=["wikitext-2-raw/wiki.train.raw"]),
    "wikitext103": OwnTraining(files=["wikitext-103-raw/wiki.train.raw"]),
    "one_billion_words": OwnTraining(
        files=["1-billion-word-language-modeling-benchmark-r13output/training-*/news.en-*"]
    ),
    "enwik8": OwnTraining(files=["enwik8/enwik8"], first_bytes=90_000_000),
    "text8": OwnTraining(files=["text8/text8"], first_bytes=90_000_000),
}


class Config(Schema):
    """How overlap is counted, and how many texts are written; n-grams, rate and top-k are the paper's."""

    ngram: int = identity(8, ge=1, description="words")
    max_false_positive_rate: float = identity(1e-8, gt=0, lt=1, description="of the Bloom filter")
    split: str = identity("train", description="split that the model was trained on")
    held_out: str = identity("test", description="split whose documents are gone on from and compared")
    documents: int = identity(200, ge=0, description="held-out documents that are compared")
    generations: int = identity(100, ge=0, description="texts to be written")
    prompt_tokens: int = identity(32, ge=1, description="tokens of a document's beginning; not counted")
    max_new_tokens: int = identity(256, ge=1, description="tokens of a text; fewer where the context is full")
    temperature: float = identity(1.0, ge=0, description="0 is greedy")
    top_k: int | None = identity(40, ge=1, description="ids kept, null for all")
    most_shared: float = identity(
        0.0, ge=0, le=1, description="share of its n-grams above which an example is left out of no-overlap"
    )
    own_training: dict[str, OwnTraining] = identity(
        OWN_TRAINING, description="by task: the set's own training text, the other column of Table 6"
    )

    def build(self, setting: Setting) -> Overlap:
        """Return the task; MissingSet where no dataset was given, ConfigError when no text fits."""
        if self.prompt_tokens + 1 >= setting.n_ctx:
            raise ConfigError(
                f"tasks: overlap: prompt_tokens {self.prompt_tokens} leaves no room; n_ctx is {setting.n_ctx}"
            )
        return Overlap(self, setting)


@dataclass(frozen=True)
class Piece:
    """A text to be compared: of which task and example, or a prompt to go on from (`text` is then None)."""

    of: str
    number: int
    text: str | None
    prompt: tuple[int, ...] = ()


class Overlap:
    """One example is one example of another task, one held-out document or one text to be written."""

    name = "overlap"

    def __init__(self, config: Config, setting: Setting):
        self._config, self._setting = config, setting
        self._tasks: Sequence[Task] = ()
        self._seen: dict[str, SeenIn] = {}
        self._filter = training_filter(setting, config.split, config.ngram, config.max_false_positive_rate)
        self._new_tokens = min(config.max_new_tokens, setting.n_ctx - config.prompt_tokens - 1)
        self._pieces: list[Piece] | None = None
        sums = [setting.split_sha256(split) for split in (config.split, config.held_out)]
        self.data_sha256 = hashlib.sha256("\n".join(sums).encode()).hexdigest()

    def over(self, tasks: Sequence[Task]) -> None:
        """Compare the examples of these tasks, which are all of the suite but this one."""
        self._tasks, self._pieces = tuple(task for task in tasks if task.name not in NOT_COMPARED), None

    @property
    def protocol(self) -> str:
        """What is compared with what, and how; once tasks join the suite, it is done again with them."""
        config, n = self._config, self._config.ngram
        own = [name for name in config.own_training if self._own_files(name)]
        return (
            f"{n}-grams of lower-case alphanumeric words, each as often as it occurs; tasks compared: "
            f"{', '.join(task.name for task in self._tasks) or 'none'}; shared_TASK: share of "
            f"those of the task's examples that split {config.split} has too, by a Bloom filter that errs "
            f"at most once in {1 / self._filter.rate:,.0f}; own_training_TASK: those that the set's own "
            f"training text has ({', '.join(own) or 'none is there'}); subset no-overlap: examples of which "
            f"at most {config.most_shared:g} are shared; generations: up to {self._new_tokens} tokens after "
            f"the first {config.prompt_tokens} of documents of split {config.held_out}, temperature "
            f"{config.temperature}, top-k {config.top_k}, seed {self._setting.seed}, without their prompts; "
            f"held_out_text: {config.documents} documents of that split at most"
        )

    def examples(self) -> Sequence[Example]:
        """Return prompts, held-out documents, then every example of the other tasks."""
        if self._pieces is None:
            self._pieces = [*self._held_out(), *self._of_tasks()]
        return [Example(number=number, content=piece) for number, piece in enumerate(self._pieces)]

    def requests(self, example: Example) -> Sequence[Generation]:
        """Return the wish for a text, if this is a prompt."""
        piece: Piece = example.content
        if piece.text is not None:
            return []
        eot_id, config = self._setting.tokenizer.eot_id, self._config
        return [
            Generation(
                prompt=(eot_id, *piece.prompt),
                max_new_tokens=self._new_tokens,
                seed=self._setting.seed * 1_000_003 + piece.number,
                temperature=config.temperature,
                top_k=config.top_k,
                stop_ids=(eot_id,),
            )
        ]

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return what of the text is shared, and the longest stretch of it."""
        piece: Piece = example.content
        text = self._setting.tokenizer.decode(replies[0].ids) if piece.text is None else piece.text
        found: Shared = shared(text, self._config.ngram, self._filter)
        record = {
            "number": example.number,
            "of": piece.of,
            "of_number": piece.number,
            "ngrams": found.ngrams,
            "shared": found.found,
            "longest": found.longest,
        }
        if piece.text is None:
            record |= {"prompt": self._setting.tokenizer.decode(piece.prompt), "text": text}
        if seen := self._seen.get(piece.of):
            record["own_training"] = shared(text, self._config.ngram, seen).found
        return record

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return the share of n-grams by task, and for Figure 5 its median and how many texts have none."""
        found = []
        for of in dict.fromkeys(record["of"] for record in records):
            long = [record for record in records if record["of"] == of and record["ngrams"]]
            if not long:
                continue
            ngrams, hits = [row["ngrams"] for row in long], [row["shared"] for row in long]
            found.append(Metric(name=f"shared_{of}", estimate=ratio(hits, ngrams)))
            if of in (GENERATIONS, HELD_OUT_TEXT):
                shares = [hit / number for hit, number in zip(hits, ngrams, strict=True)]
                found.append(Metric(name=f"shared_{of}_median", estimate=median(shares)))
                found.append(Metric(name=f"shared_{of}_none", estimate=mean([not hit for hit in hits])))
            if all("own_training" in row for row in long):
                own = ratio([row["own_training"] for row in long], ngrams)
                found.append(Metric(name=f"own_training_{of}", estimate=own))
        return found

    def left_out(self, records: Sequence[Mapping[str, Any]]) -> dict[str, set[int]]:
        """Return the numbers of each task's examples that share too much with the training documents."""
        out: dict[str, set[int]] = {task.name: set() for task in self._tasks}
        for record in records:
            if record["shared"] > self._config.most_shared * record["ngrams"] and record["of"] in out:
                out[record["of"]].add(record["of_number"])
        return out

    def _held_out(self) -> list[Piece]:
        config, encode = self._config, self._setting.tokenizer.encode
        most = max(config.documents, config.generations)
        if self._setting.limit:
            most = min(most, self._setting.limit)
        texts = list(islice(self._setting.documents(config.held_out), most))
        prompts = [tuple(encode(text)[: config.prompt_tokens]) for text in texts[: config.generations]]
        return [
            *(Piece(GENERATIONS, number, None, prompt) for number, prompt in enumerate(prompts)),
            *(Piece(HELD_OUT_TEXT, n, text) for n, text in enumerate(texts[: config.documents])),
        ]

    def _of_tasks(self) -> list[Piece]:
        """Return the texts of the other tasks, and look for them in the sets' own training texts."""
        pieces = []
        for task in self._tasks:
            mine = [
                Piece(task.name, example.number, text_of(task, example, self._setting.tokenizer))
                for example in task.examples()
            ]
            if files := self._own_files(task.name):
                self._seen[task.name] = self._seen_in(files, mine, task.name)
            pieces += mine
        return pieces

    def _own_files(self, name: str) -> list[Path]:
        own, folder = self._config.own_training.get(name), self._setting.data
        if own is None or folder is None:
            return []
        return sorted({path for pattern in own.files for path in folder.glob(pattern) if path.is_file()})

    def _seen_in(self, files: Sequence[Path], pieces: Sequence[Piece], name: str) -> SeenIn:
        n = self._config.ngram
        hashes = [ngram_hashes(word_hashes(normal_words(piece.text or "")), n) for piece in pieces]
        seen = SeenIn(np.concatenate([*hashes, np.empty(0, np.uint64)]), n)
        for path in files:
            seen.read(path, self._config.own_training[name].first_bytes)
        return seen
