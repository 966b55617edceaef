"""LAMBADA (Paperno et al., 2016): the last word of a passage, which people guess from all of it and not from
its last sentence.

The GPT-2 paper (section 3.3) scores the 1542M model with 52.66 % and, once it leaves out stop words, with
63.24 %; it says neither which words these are nor how a word is told from tokens. So all three ways to count
a hit are counted, from one pass:

- last token: the word's last token is the likeliest, given those before it;
- last word: every token of it is, each given those before it;
- stop-word filter: the same once ids that are a stop word, or hold no letter or digit, are passed over where
  the word begins. A word that begins with such an id, or is a stop word, is missed: with the words below and
  GPT-2's ids 135 and 57 of the 5,153 passages in OpenAI's text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from model.tokenizer import Tokenizer
from pipeline.config import Schema, identity
from pipeline.errors import ConfigError
from pipeline.evaluate.context import cut_metric
from pipeline.evaluate.task import Example, LogLikelihood, Metric, Reply, Setting
from pipeline.formats.source import Rows
from pipeline.metrics import accuracy, bits_per_byte, mean, perplexity, ratio

# Words of the closed classes: articles and determiners, pronouns, prepositions, conjunctions, auxiliaries and
# what is left of them in contractions, and adverbs that only join or grade.
STOP_WORDS = """
a an the this that these those each every either neither some any no none all both few many much more most
other another such own same
i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her
hers herself it its itself they them their theirs themselves who whom whose which what one
about above across after against along among around as at before behind below beneath beside between beyond by
down during for from in inside into near of off on onto out outside over past since through throughout to
toward towards under until up upon with within without
and but or nor so yet if because although though unless while whereas whether than when where why how
am is are was were be been being do does did doing done have has had having can could may might must shall
should will would ought
s t d m ll re ve don didn doesn isn wasn weren aren couldn wouldn shouldn hasn hadn
not too very just only even also still again then there here now ever never
"""


class FinalWord(Schema):
    """What the paper leaves open of LAMBADA."""

    end_of_text: bool = identity(False, description="put end-of-text before the passage")
    stop_words: list[str] = identity(
        STOP_WORDS.split(), description="lower-case words that the filter takes for no last word"
    )


@dataclass(frozen=True)
class Passage:
    """A passage up to its last word, without the blanks at its end, and the word with these before it."""

    text: str
    ending: str

    @property
    def word(self) -> str:
        """The last word."""
        return self.ending.strip()


def passage_of(text: str) -> Passage:
    """Return a passage parted before its last word, which a single blank precedes; ValueError without two."""
    before, blank, word = text.rpartition(" ")
    beginning = before.rstrip()
    if not beginning or not word:
        raise ValueError("a passage is two words at least, and ends with the last; get the file anew")
    return Passage(beginning, before[len(beginning) :] + blank + word)


class FinalWordTask:
    """One example is one passage."""

    def __init__(self, name: str, text: str, config: FinalWord, rows: Rows[Passage], setting: Setting):
        self.name, self.data_sha256 = name, rows.sha256
        self._config, self._passages, self._setting = config, rows.rows, setting
        self._stop_words = frozenset(config.stop_words)
        self._passed_over = passed_over(setting.tokenizer, self._stop_words)
        self.protocol = (
            f"{text}, {'after' if config.end_of_text else 'without'} end-of-text; a passage that does not "
            f"fit context {setting.n_ctx} loses its beginning; a word begins after the last blank, nothing "
            "is asked of what follows it; a hit: last_token, its last token is the likeliest, given the "
            "others; last_word, every token is; stop_word_filter, that with the ids of "
            f"{len(self._stop_words)} stop words (stop_words) and those without letter or digit passed over "
            "at the first token; perplexity per word, token_perplexity per token of it, bits per byte of it "
            "and the blank before it"
        )

    def examples(self) -> Sequence[Example]:
        """Return the passages."""
        return [
            Example(number=number, content=passage)
            for number, passage in enumerate(self._passages[: self._setting.limit])
        ]

    def requests(self, example: Example) -> Sequence[LogLikelihood]:
        """Return the question for the last word; ConfigError where the context cannot hold the word."""
        context, target = self._ids(example)
        kept = context[-self._room(target) :]
        return [LogLikelihood(context=kept, target=target, greedy=True, without=self._passed_over)]

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return the passage, the model's words and whether they hit."""
        passage: Passage = example.content
        context, target = self._ids(example)
        reply, decode = replies[0], self._setting.tokenizer.decode
        tail = reply.likeliest[1:] == target[1:]
        filtered = reply.instead == target[0] and tail and passage.word.lower() not in self._stop_words
        return {
            "number": example.number,
            "text": passage.text,
            "word": passage.word,
            "likeliest": decode(reply.likeliest),
            "likeliest_filtered": None if reply.instead is None else decode([reply.instead]),
            "nats": sum(reply.nats),
            "tokens": len(target),
            "bytes": len(passage.ending.encode()),
            "cut": len(context) > self._room(target),
            "hit_last_token": reply.likeliest[-1] == target[-1],
            "hit_last_word": reply.likeliest == target,
            "hit_stop_word_filter": filtered,
        }

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return the perplexities and accuracies, and the share of passages that were cut."""
        nats, tokens, text_bytes = (
            [record[key] for record in records] for key in ("nats", "tokens", "bytes")
        )
        ways = ("last_token", "last_word", "stop_word_filter")
        hits = [(way, [record[f"hit_{way}"] for record in records]) for way in ways]
        return [
            Metric(name="perplexity", estimate=perplexity(mean(nats))),
            Metric(name="token_perplexity", estimate=perplexity(ratio(nats, tokens))),
            *(Metric(name=f"accuracy_{way}", estimate=accuracy(found)) for way, found in hits),
            Metric(name="bits_per_byte", estimate=bits_per_byte(nats, text_bytes)),
            cut_metric(records),
        ]

    def _ids(self, example: Example) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the ids of the passage and of its last word."""
        passage: Passage = example.content
        tokenizer = self._setting.tokenizer
        start = [tokenizer.eot_id] if self._config.end_of_text else []
        return (*start, *tokenizer.encode(passage.text)), tuple(tokenizer.encode(passage.ending))

    def _room(self, target: Sequence[int]) -> int:
        """Return how many ids fit before a word."""
        room = self._setting.n_ctx + 1 - len(target)
        if room < 1:
            raise ConfigError(
                f"tasks: {self.name}: a word of {len(target)} tokens does not fit n_ctx {self._setting.n_ctx}"
            )
        return room


def passed_over(tokenizer: Tokenizer, stop_words: frozenset[str]) -> tuple[int, ...]:
    """Return the ids that the filter passes over; one that begins or ends within a character is none."""
    found = [tokenizer.eot_id]
    for id in range(tokenizer.vocab_size):
        text = tokenizer.decode([id])
        is_word = any(sign.isalnum() or sign == "\N{REPLACEMENT CHARACTER}" for sign in text)
        if id != tokenizer.eot_id and (not is_word or text.strip().lower() in stop_words):
            found.append(id)
    return tuple(found)
