"""Text as people write it from the tokens of an evaluation set, and the tokens back from the text.

The GPT-2 paper (section 3.1) scores sets that were tokenised long ago as ordinary text, through "invertible
de-tokenizers", and divides by the number of the original tokens; its own were never published. A loss over
the text counts for the tokens only if the tokens can be had back from it, so here nothing is written that
would not be read back: a token is joined to the word before it only where `split` takes the two apart again.
A token that no spelling brings back (`Press.` where the full stop is a token elsewhere) is kept as an
exception beside the text; the exceptions are counted, and are few.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Detokenized:
    """A line of text: the `pieces` that its tokens became (with the blank before each), and by the number of
    a chunk between blanks the tokens of those that `split` would get wrong."""

    pieces: tuple[str, ...]
    exceptions: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The line as it is read."""
        return "".join(self.pieces)


@dataclass(frozen=True, kw_only=True)
class Detokenizer:
    """The habits of one tokenised set; tokens are any strings without blanks and line ends.

    `leading` and `trailing` are marks at the ends of a word and the tokens that they are; a mark that is both
    is a quote. `inner` says what is put for a match within a word: its tokens, between blanks. `between` are
    tokens that join both neighbours, as they are written. `kept` are chunks that are one token as they stand,
    `joined` tokens that belong to the word before them. `whole` are tokens that are written otherwise.
    """

    name: str
    leading: Mapping[str, str]
    trailing: Mapping[str, str]
    inner: tuple[tuple[re.Pattern[str], str], ...]
    between: Mapping[str, str] = field(default_factory=dict)
    kept: re.Pattern[str]
    joined: re.Pattern[str]
    whole: Mapping[str, str] = field(default_factory=dict)

    def detokenize(self, tokens: Sequence[str]) -> Detokenized:
        """Return the line that a line's tokens become."""
        return _Writer(self, tokens).written()

    def retokenize(self, text: str, exceptions: Mapping[int, Sequence[str]]) -> list[str]:
        """Return the tokens of a line that `detokenize` wrote."""
        chunks = text.split(" ") if text else []
        return [
            token
            for number, chunk in enumerate(chunks)
            for token in exceptions.get(number) or self.split(chunk)
        ]

    def split(self, chunk: str) -> list[str]:
        """Return the tokens of a chunk of text without blanks, by rule."""
        head: list[str] = []
        tail: list[str] = []
        while chunk and not chunk.isalnum() and not self.kept.fullmatch(chunk):
            mark = next((mark for mark in self.trailing if chunk.endswith(mark)), None)
            if chunk[0] in self.leading:
                head.append(self.leading[chunk[0]])
                chunk = chunk[1:]
            elif mark is not None:
                tail.append(self.trailing[mark])
                chunk = chunk[: -len(mark)]
            else:
                break
        return [*head, *self._core(chunk), *reversed(tail)]

    def _core(self, chunk: str) -> list[str]:
        """Return the tokens of a word without marks around it."""
        for token, written in self.whole.items():
            if chunk == written:
                return [token]
        if chunk.isalnum() or self.kept.fullmatch(chunk):
            return [chunk]
        for pattern, put in self.inner:
            chunk = pattern.sub(put, chunk)
        return chunk.split()


class _Writer:
    """A line on its way from tokens to text: a chunk grows while `split` takes it apart into its tokens."""

    def __init__(self, rules: Detokenizer, tokens: Sequence[str]):
        self._rules, self._tokens = rules, list(tokens)
        self._opens = {token: mark for mark, token in rules.leading.items()}
        self._closes = {token: mark for mark, token in rules.trailing.items()}
        self._pieces: list[str] = []
        self._chunk, self._members = "", list[str]()
        self._number = -1
        self._exceptions: dict[int, tuple[str, ...]] = {}
        self._open: set[str] = set()
        self._glued = False

    def written(self) -> Detokenized:
        """Return the line."""
        place = 0
        while place < len(self._tokens):
            place += self._join_both(place) or self._write(*self._tokens[place : place + 2])
        return Detokenized(tuple(self._pieces), self._exceptions)

    def _join_both(self, place: int) -> int:
        """Write a token that joins its neighbours, with the one after it; return how many were written."""
        written = self._rules.between.get(self._tokens[place])
        if written is None or not self._members or place + 1 == len(self._tokens) or self._glued:
            return 0
        token, after = self._tokens[place : place + 2]
        if after in self._opens or after in self._closes:
            return 0
        spelled = self._rules.whole.get(after, after)
        if self._rules.split(self._chunk + written + spelled) != [*self._members, token, after]:
            return 0
        self._grow([token, after], [written, spelled])
        return 2

    def _write(self, token: str, after: str = "") -> int:
        """Write one token, at the end of the chunk or as a new one."""
        glued, closing = self._glued, self._is_closing(token, after)
        opening = token in self._opens and not closing
        mark = self._closes[token] if closing and token in self._closes else self._opens.get(token)
        spelled = mark or self._rules.whole.get(token, token)
        if (glued or closing) and self._fits(token, spelled):
            self._grow([token], [spelled])
        else:
            self._begin(token, spelled)
        self._glued = opening
        if token in self._opens and token in self._closes:
            self._open ^= {token} if opening or token in self._open else set()
        return 1

    def _is_closing(self, token: str, after: str) -> bool:
        """Return whether a token belongs to the word before it."""
        if not self._members or token.isalnum():
            return False
        if token in self._opens and token in self._closes:  # a quote that looks the same at both ends
            ends = not after or (after in self._closes and after not in self._opens)
            return ends or token in self._open or (token == "'" and self._members[-1][-1] in "sS")
        return token in self._closes or self._rules.joined.fullmatch(token) is not None

    def _fits(self, token: str, spelled: str) -> bool:
        if self._number in self._exceptions:
            return True
        return self._rules.split(self._chunk + spelled) == [*self._members, token]

    def _grow(self, tokens: Sequence[str], spelled: Sequence[str]) -> None:
        self._chunk += "".join(spelled)
        self._members += tokens
        self._pieces += spelled
        if self._number in self._exceptions:
            self._exceptions[self._number] = tuple(self._members)

    def _begin(self, token: str, spelled: str) -> None:
        """Begin a chunk with a token, spelled out as it is in the set where the text would not tell it."""
        self._number += 1
        if self._rules.split(spelled) != [token]:
            if self._rules.split(token) != [token]:
                self._exceptions[self._number] = (token,)
            spelled = token
        self._chunk, self._members = spelled, [token]
        self._pieces.append(f" {spelled}" if self._pieces else spelled)


_MARKS = {mark: mark for mark in ("...", ".", ",", ";", ":", "!", "?", ")", "]", "}", "%", '"', "'")}
_OPENING = {mark: mark for mark in ("(", "[", "{", "$", "£", "€", "¥", "#", '"', "'")}
_TITLES = "Capt Col Dr Gen Gov Hon Jr Lt Maj Mr Mrs Ms Mt Prof Rev Sen Sgt Sr St"
_ABBREVIATIONS = (
    f"{_TITLES} al Bros Co Corp Cpl Eng Esq etc Feb Fig Fr Ft Inc Jan lbs Ltd mm No Nos Nov Oct pp Rep Sept "
    "var vol Vol vs"
)
_CONTRACTIONS = r"'(?:s|m|d|re|ve|ll)"


def _kept(abbreviations: str) -> re.Pattern[str]:
    """Match letters with a full stop after each, abbreviations, dots or dashes alone, marks as tokens are."""
    words = abbreviations.replace(" ", "|")
    return re.compile(
        rf"(?:[^\W\d_]\.)+|(?:{words})\.|\.+|-+|{_CONTRACTIONS}|'t|@[-,.]@|``|''|-[lrLR][rsRS][bB]-"
    )


_APOSTROPHE = (re.compile(r"(?<=[\w>.])(?='\w)"), " ")
_SLASH = (re.compile(r"(?<=[\w>])/(?=[\w<])"), " / ")
_TREEBANK_CONTRACTIONS = (
    (re.compile(r"(?<=\w)(?=n't$)"), " "),
    (re.compile(rf"(?<=[\w>.])(?={_CONTRACTIONS}$)"), " "),
)
_TREEBANK_JOINED = re.compile(rf"n't|{_CONTRACTIONS}")

WIKITEXT = Detokenizer(
    name="WikiText",
    leading={**_OPENING, "₱": "₱", "“": "“"},
    trailing={**_MARKS, "°": "°", "”": "”"},
    inner=(
        (re.compile(r"(?<=[\w>])-(?=[\w<])"), " @-@ "),
        (re.compile(r"(?<!\w)(\d+),(?=\d+\b)"), r"\1 @,@ "),
        (re.compile(r"(?<!\w)(\d+)\.(?=\d+\b)"), r"\1 @.@ "),
        (re.compile(r"(?<=\d)([–:])(?=\d)"), r" \1 "),
        (re.compile(r"(?<=\w)([—⁄’])(?=\w)"), r" \1 "),
        (re.compile(r"(?<==)(?==)"), " "),
        _SLASH,
        _APOSTROPHE,
    ),
    between={"@-@": "-", "@,@": ",", "@.@": ".", **{mark: mark for mark in "–—⁄’/:"}},
    kept=_kept(_ABBREVIATIONS),
    joined=re.compile(r"'\w+|="),
)
"""WikiText's (Merity et al., 2016): Moses's, with a hyphen and a number's marks between at signs."""

NEWS = Detokenizer(
    name="One Billion Words",
    leading=_OPENING,
    trailing=_MARKS,
    inner=(_SLASH, _APOSTROPHE),
    between={"/": "/"},
    kept=_kept(_ABBREVIATIONS),
    joined=re.compile(r"'\w+"),
)
"""The One Billion Word benchmark's (Chelba et al., 2013): Moses's, hyphens and numbers left whole."""

TREEBANK = Detokenizer(
    name="Penn Treebank",
    leading={'"': "``", "'": "`", "(": "-LRB-", "$": "$"},
    trailing={**_MARKS, '"': "''", ")": "-RRB-"},
    inner=_TREEBANK_CONTRACTIONS,
    kept=_kept(f"{_TITLES} {_TITLES.lower()}"),
    joined=_TREEBANK_JOINED,
)
"""That of stories in the treebank's manner (CBT, LAMBADA's original): its quotes, brackets, contractions."""


def bare_treebank(number: str) -> Detokenizer:
    """Return the one of the Penn Treebank as language models know it (Mikolov et al., 2010): lower case, no
    punctuation, and `N` for every number, which is written as `number`."""
    return Detokenizer(
        name=f"Penn Treebank, a number as {number}",
        leading={"$": "$", "#": "#"},
        trailing={"%": "%", "'": "'"},
        inner=_TREEBANK_CONTRACTIONS,
        kept=re.compile(_CONTRACTIONS),
        joined=_TREEBANK_JOINED,
        whole={"N": number},
    )
