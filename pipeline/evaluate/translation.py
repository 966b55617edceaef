"""Translation asked for by examples, `english sentence = french sentence`, and scored by BLEU: newstest2014.

GPT-2 paper, section 3.7. Both directions share the set and all of the protocol but the direction.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.config import Schema, identity
from pipeline.errors import FormatError
from pipeline.evaluate.bleu import Bleu
from pipeline.evaluate.context import CUT_RULE, cut_metric, fitted, windows
from pipeline.evaluate.lines import numbered_lines
from pipeline.evaluate.sentences import RULE as SENTENCE_RULE
from pipeline.evaluate.sentences import sentences
from pipeline.evaluate.task import Example, Generation, LogLikelihood, Metric, Reply, Setting
from pipeline.formats.source import Hub, Source
from pipeline.metrics import bits_per_byte, mean

Language = Literal["english", "french"]

_SEGMENT = re.compile(r"<seg\b[^>]*>(.*)</seg>", re.IGNORECASE)


class Pair(Schema):
    """A sentence in both languages."""

    english: str = identity(pattern=r"\S", description="a sentence")
    french: str = identity(pattern=r"\S", description="the same sentence")


PAIRS = tuple(
    Pair(english=english, french=french)
    for english, french in (
        (
            "The minister will present the new budget to parliament on Tuesday.",
            "Le ministre présentera mardi le nouveau budget au parlement.",
        ),
        (
            "More than two thousand people took part in the march, according to the police.",
            "Plus de deux mille personnes ont participé à la marche, selon la police.",
        ),
        (
            '"We did everything we could to save the factory," she said.',
            "« Nous avons tout fait pour sauver l'usine », a-t-elle déclaré.",
        ),
        (
            "The price of oil fell by 3.5% last week.",
            "Le prix du pétrole a baissé de 3,5 % la semaine dernière.",
        ),
        (
            "The match was interrupted for twenty minutes because of the rain.",
            "Le match a été interrompu pendant vingt minutes à cause de la pluie.",
        ),
    )
)
"""Sentences of ours: of the paper's pairs neither number nor origin is known."""


class TranslationConfig(Schema):
    """The paper's: greedy after pairs, the first sentence of what is written.

    It leaves open which pairs, how a sentence is told, and the BLEU.
    """

    pairs: tuple[Pair, ...] = identity(PAIRS, description="examples before the sentence to be translated")
    max_new_tokens: int = identity(200, ge=1, description="tokens written; half the context at most")
    first: Literal["sentence", "line"] = identity(
        "sentence", description="of what is written, taken for the translation"
    )
    tokenize: str = identity("13a", description="sacrebleu's tokenizer")


@dataclass(frozen=True)
class Segment:
    """A line of the set in both languages; most hold one sentence."""

    english: str
    french: str


class Translation:
    """One example is one line of the set. The longest reference has 159 tokens of GPT-2's."""

    def __init__(self, name: str, config: TranslationConfig, setting: Setting, to: Language):
        self.name, self._config, self._setting = name, config, setting
        self._from: Language = "english" if to == "french" else "french"
        self._to = to
        self._bleu = Bleu(config.tokenize)
        self._segments, self.data_sha256 = (found := setting.rows(SOURCE)).rows, found.sha256
        self._new_tokens = min(config.max_new_tokens, setting.n_ctx // 2)
        self._examples = "".join(
            f"{getattr(pair, self._from)} = {getattr(pair, to)}\n" for pair in config.pairs
        )
        self.protocol = (
            f"newstest2014, {self._from} to {to}; after end-of-text and {self._examples!r}, the sentence and "
            f"' =': greedy, {self._new_tokens} tokens at most, up to the line's end; of these the first "
            f"{config.first}; {SENTENCE_RULE}; context {setting.n_ctx}, {CUT_RULE}; an empty translation "
            f"is scored as one; BLEU in points of 100, {self._bleu.signature}, stderr by 1000 draws of the "
            f"lines; sentence_bleu: mean of each line's, for reading; "
            "bits_per_byte: of the reference after the prompt, the blank between them included"
        )

    def examples(self) -> Sequence[Example]:
        """Return the lines."""
        return [
            Example(number=number, content=segment)
            for number, segment in enumerate(self._segments[: self._setting.limit])
        ]

    def requests(self, example: Example) -> Sequence[Generation | LogLikelihood]:
        """Return the wish for a translation and for the reference's loss."""
        tokenizer, n_ctx = self._setting.tokenizer, self._setting.n_ctx
        prompt = self._prompt(example.content)
        wish = Generation(
            prompt=fitted(prompt, self._new_tokens, n_ctx),
            max_new_tokens=self._new_tokens,
            stop_ids=(tokenizer.eot_id,),
            stop=("\n",),
        )
        reference = tokenizer.encode(f" {getattr(example.content, self._to)}")
        return [wish, *windows(prompt, reference, n_ctx)]

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return source, reference, what was written and what was taken of it, and the counts of BLEU."""
        source, reference = (getattr(example.content, language) for language in (self._from, self._to))
        written = replies[0].text.strip()
        parts = sentences(written) if self._config.first == "sentence" else written.splitlines()
        translation = parts[0] if parts else ""
        return {
            "number": example.number,
            "source": source,
            "reference": reference,
            "written": written,
            "translation": translation,
            "empty": not translation,
            "counts": self._bleu.counts(translation, reference),
            "sentence_bleu": self._bleu.sentence(translation, reference),
            "cut": len(self._prompt(example.content)) + self._new_tokens > self._setting.n_ctx,
            "nats": sum(sum(reply.nats) for reply in replies[1:]),
            "bytes": len(f" {reference}".encode()),
        }

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return BLEU of all lines together, and what else was counted."""
        nats, text_bytes = ([record[key] for record in records] for key in ("nats", "bytes"))
        return [
            Metric(name="bleu", estimate=self._bleu.corpus([record["counts"] for record in records])),
            Metric(name="sentence_bleu", estimate=mean([record["sentence_bleu"] for record in records])),
            Metric(name="bits_per_byte", estimate=bits_per_byte(nats, text_bytes)),
            Metric(name="empty", estimate=mean([float(record["empty"]) for record in records])),
            cut_metric(records),
        ]

    def _prompt(self, segment: Segment) -> tuple[int, ...]:
        tokenizer = self._setting.tokenizer
        return (tokenizer.eot_id, *tokenizer.encode(f"{self._examples}{getattr(segment, self._from)} ="))


def parse(files: Sequence[Path]) -> list[Segment]:
    """Return the lines of an English file and a French one; FormatError names one without its like."""
    sides = [_segments(path) for path in files]
    if len(sides[0]) != len(sides[1]):
        (least, short), (most, long) = sorted(zip(map(len, sides), files, strict=True))
        raise FormatError(
            f"{short}:{least}: the last of {least} lines, but {long.name} has {most}; get both files anew"
        )
    return [Segment(english, french) for english, french in zip(*sides, strict=True)]


def hub_row(row: Mapping[str, Any]) -> Segment:
    """Return the line of a row with `translation: {en, fr}`; ValueError if a side is empty."""
    english, french = (str(row["translation"][language]).strip() for language in ("en", "fr"))
    if not english or not french:
        raise ValueError("a side is empty")
    return Segment(english, french)


def _segments(path: Path) -> list[str]:
    """Return the texts of a file: its lines, or the segments of SGML, which stand one on a line."""
    found = []
    for number, line in numbered_lines(path):
        text = line
        if path.suffix == ".sgm":
            if not line.lstrip().lower().startswith("<seg"):
                continue
            segment = _SEGMENT.search(line)
            text = html.unescape(segment[1]) if segment else ""
        if not text.strip():
            raise FormatError(f"{path}:{number}: no text in this line; get the file anew")
        found.append(" ".join(text.split()))
    return found


SOURCE = Source(
    name="WMT-14 English-French (newstest2014)",
    layouts=(
        ("test-full/newstest2014-fren-src.en.sgm", "test-full/newstest2014-fren-ref.fr.sgm"),
        ("wmt14_enfr/newstest2014.en", "wmt14_enfr/newstest2014.fr"),
    ),
    parse=parse,
    where="https://statmt.org/wmt14/test-full.tgz",
    hub=Hub(path="wmt/wmt14", name="fr-en", split="test", row=hub_row),
)
"""All 3003 lines, either as published or one a line."""
