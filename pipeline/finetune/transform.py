"""From labelled texts to sequences of ids, as Figure 1 of GPT-1's paper draws them.

Every input begins with a start token and ends with an extract token, whose last state the head reads, and has
a delimiter between two texts. These three are new ids behind the vocabulary's.

What is too long for the context is cut, never the three tokens. The texts of an input share the room that is
left: those that need no more than an equal share are kept whole, the others are cut on the right to equal
lengths. (OpenAI's released code allows each text half of the context, however short the other.) Each input
says how many tokens it lost.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from model.tokenizer import Tokenizer
from pipeline.finetune.dataset import Choice, Example, Pair, Span, Text

PROTOCOL = (
    "texts that are too long for the context share it equally, cut on the right; special tokens are never cut"
)
CACHED_WORDS = 1 << 16
SPECIAL_IDS = 3  # start, delimiter and extract
# A run of letters and digits, or one other character, with the blanks before it.
_PIECE = re.compile(r"\s*(\w+|[^\w\s])")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The ids of the special tokens, and the context, in tokens, that an input must fit."""

    start: int
    delimiter: int
    extract: int
    n_ctx: int

    @classmethod
    def behind(cls, vocab_size: int, n_ctx: int) -> Layout:
        """Return the layout whose special ids follow on a vocabulary."""
        return cls(start=vocab_size, delimiter=vocab_size + 1, extract=vocab_size + 2, n_ctx=n_ctx)


@dataclass(frozen=True, kw_only=True)
class Input:
    """A sequence for the model: its ids, of which the extract token is the last, and the tokens it lost."""

    ids: tuple[int, ...]
    cut: int = 0

    @property
    def extract(self) -> int:
        """The place of the extract token, whose state the head reads."""
        return len(self.ids) - 1

    @property
    def targets(self) -> tuple[bool, ...]:
        """Which tokens the auxiliary loss predicts from those before: all but the first.

        The delimiter and the extract token are among them, as in OpenAI's released code (train.py, whose mask
        covers the whole input), and each input's loss is the mean over its own.
        """
        return (False, *[True] * (len(self.ids) - 1))


@dataclass(frozen=True, kw_only=True)
class Window(Input):
    """A question and a piece of its passage.

    `first` is the place of the piece's first token; `characters` are, for each token of the piece, the
    beginning and end in the passage of the word that it belongs to; `answer` are the places of the first and
    the last token of the answer, None where it does not lie wholly in the piece.
    """

    first: int
    characters: tuple[tuple[int, int], ...]
    answer: tuple[int, int] | None

    def text(self, context: str, start: int, end: int) -> str:
        """Return the piece of the passage from the word at place `start` to the one at `end`, inclusive."""
        return context[self.characters[start - self.first][0] : self.characters[end - self.first][1]]


def classification(example: Text, tokenizer: Tokenizer, layout: Layout) -> list[Input]:
    """Return `start text extract`."""
    return [_joined([tokenizer.encode(example.text)], layout)]


def entailment(example: Pair, tokenizer: Tokenizer, layout: Layout) -> list[Input]:
    """Return `start premise delimiter hypothesis extract`."""
    return [_joined([tokenizer.encode(example.first), tokenizer.encode(example.second)], layout)]


def similarity(example: Pair, tokenizer: Tokenizer, layout: Layout) -> list[Input]:
    """Return the pair in both orders; likeness has none, and the states of both are added."""
    first, second = tokenizer.encode(example.first), tokenizer.encode(example.second)
    return [_joined([first, second], layout), _joined([second, first], layout)]


def choice(example: Choice, tokenizer: Tokenizer, layout: Layout) -> list[Input]:
    """Return `start context question delimiter answer extract` for each answer.

    The context is cut to the same length beside every answer: the room is shared with the longest.
    """
    context = tokenizer.encode(example.context)
    question = tokenizer.encode(f" {example.question}") if example.question else []
    answers = [tokenizer.encode(answer) for answer in example.answers]
    longest = max(map(len, answers))
    room = _room(layout, special=3, texts=3)
    kept = shares([len(context), len(question), longest], room)
    before = [layout.start, *context[: kept[0]], *question[: kept[1]], layout.delimiter]
    lost = len(context) + len(question) - kept[0] - kept[1]
    return [
        Input(
            ids=(*before, *answer[: kept[2]], layout.extract),
            cut=lost + max(len(answer) - kept[2], 0),
        )
        for answer in answers
    ]


def span(example: Span, tokenizer: Tokenizer, layout: Layout) -> list[Window]:
    """Return `start question delimiter piece extract` for as many pieces as cover the whole passage.

    The question comes first, for a state knows only what came before it. A piece takes what room the question
    leaves (which is cut to half of it), and begins half a piece after the last one. The passage is cut into
    tokens word by word, so that any run of words is a run of tokens. The one to be found is the first of the
    reference answers.
    """
    question = tokenizer.encode(example.question)
    room = _room(layout, special=3, texts=4)
    kept = question[: room // 2]
    ids, characters = _words(example.context, tokenizer)
    answer = _tokens_of(example.answers[0], characters) if example.answers else None
    before = (layout.start, *kept, layout.delimiter)
    windows = []
    for begin, end in _pieces(len(ids), room - len(kept)):
        inside = answer and begin <= answer[0] and answer[1] < end
        shift = len(before) - begin
        windows.append(
            Window(
                ids=(*before, *ids[begin:end], layout.extract),
                cut=len(question) - len(kept),
                first=len(before),
                characters=tuple(characters[begin:end]),
                answer=(answer[0] + shift, answer[1] + shift) if answer and inside else None,
            )
        )
    return windows


Transform = Callable[..., Sequence[Input]]
TRANSFORMS: Mapping[str, Transform] = {
    "classification": classification,
    "entailment": entailment,
    "similarity": similarity,
    "choice": choice,
    "span": span,
}


def inputs(kind: str, example: Example, tokenizer: Tokenizer, layout: Layout) -> Sequence[Input]:
    """Return the inputs of an example of a kind: one, two, or one for each answer or piece."""
    return TRANSFORMS[kind](example, tokenizer, layout)


def shares(lengths: Sequence[int], room: int) -> list[int]:
    """Return how much of each length fits into a room: equal shares, of which the short ones need less."""
    kept = [0] * len(lengths)
    left = room
    for rank, place in enumerate(sorted(range(len(lengths)), key=lambda place: lengths[place])):
        kept[place] = min(lengths[place], left // (len(lengths) - rank))
        left -= kept[place]
    return kept


def _room(layout: Layout, special: int, texts: int) -> int:
    """Return the tokens that are left for texts; ValueError where not each could have one."""
    room = layout.n_ctx - special
    if room < texts:
        raise ValueError(
            f"a context of {layout.n_ctx} tokens is too short: {special} are special, {texts} needed beside"
        )
    return room


def _joined(texts: Sequence[Sequence[int]], layout: Layout) -> Input:
    room = _room(layout, special=len(texts) + 1, texts=len(texts))
    kept = shares([len(text) for text in texts], room)
    ids = [layout.start]
    for number, (text, length) in enumerate(zip(texts, kept, strict=True)):
        ids += [*([layout.delimiter] if number else []), *text[:length]]
    return Input(ids=(*ids, layout.extract), cut=sum(map(len, texts)) - sum(kept))


def _words(context: str, tokenizer: Tokenizer) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the tokens of a passage, word by word, and where in it each one's word begins and ends."""
    words = list(_PIECE.finditer(context))
    encoded = [_encoded(tokenizer.encode, _spaced(word)) for word in words]
    ids = [id for tokens in encoded for id in tokens]
    characters = [word.span(1) for word, tokens in zip(words, encoded, strict=True) for _ in tokens]
    return ids, characters


@functools.lru_cache(CACHED_WORDS)
def _encoded(encode: Callable[[str], list[int]], word: str) -> tuple[int, ...]:
    """Return the ids of a word; most of a passage's were seen before, and GPT-1's rules are slow."""
    return tuple(encode(word))


def _spaced(word: re.Match[str]) -> str:
    """Return a word, after a blank if there is any before it: in vocabularies that is another token."""
    return f" {word[1]}" if word.start(1) > word.start() else word[1]


def _tokens_of(answer: tuple[int, str], characters: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Return the first and last token of the words that an answer touches, None where it touches none."""
    start, end = answer[0], answer[0] + len(answer[1])
    touched = [place for place, (low, high) in enumerate(characters) if low < end and start < high]
    return (touched[0], touched[-1]) if touched else None


def _pieces(tokens: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield beginnings and ends of pieces, each beginning half a piece after the last, until all are in."""
    begin = 0
    while begin + length < tokens:
        yield begin, begin + length
        begin += max(length // 2, 1)
    yield begin, tokens
