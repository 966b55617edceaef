"""A text that a model reads, and the original that it stands for, whose words and bytes are counted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import FormatError
from pipeline.evaluate.detokenize import Detokenizer
from pipeline.evaluate.lines import numbered_lines

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Text:
    """A text to read, and what it stands for: `counts` says of each unit of the original (`words`, `bytes`,
    `characters`) how many are over after so many UTF-8 bytes of the text, from none to all."""

    text: str
    counts: Mapping[str, Counts]


def text_of(pieces: Sequence[str], originals: Sequence[str]) -> Text:
    """Return a text made of the pieces that the words of an original became, one for each.

    A word is over with its piece; `originals` are the words as they stood, blanks and line ends included.
    """
    text = "".join(pieces)
    ends = np.cumsum([len(piece.encode()) for piece in pieces])
    size = int(ends[-1]) + 1
    sizes = [len(word.encode()) for word in originals]
    counts = {
        "words": np.bincount(ends, minlength=size).cumsum(),
        "bytes": np.bincount(ends, weights=sizes, minlength=size).cumsum().astype(np.int64),
    }
    return Text(text, counts)


def plain_text(text: str) -> Text:
    """Return a text that stands for itself, counted in bytes and characters."""
    content = np.frombuffer(text.encode(), dtype=np.uint8)
    begins = (content & 0xC0) != 0x80  # the bytes that are not the second or later of a character
    counts = {"characters": np.concatenate([[0], np.cumsum(begins)]), "bytes": np.arange(len(content) + 1)}
    return Text(text, counts)


def text_as_it_is(lines: Sequence[str]) -> Text:
    """Return tokenised lines as one text, a blank around every token; a line's end is a word of its own."""
    words = [word for line in lines for word in _words(line)]
    return text_of(words, words)


def written_text(lines: Sequence[str], detokenizer: Detokenizer) -> tuple[Text, int]:
    """Return tokenised lines as one text that people would write, and how many of its chunks are exceptions,
    which the text alone does not turn back into their tokens. A line's end is a word of its own."""
    pieces: list[str] = []
    words: list[str] = []
    exceptions = 0
    for line in lines:
        written = detokenizer.detokenize([word.lstrip(" ") for word in _words(line)[:-1]])
        pieces += [*written.pieces, "\n"]
        words += _words(line)
        exceptions += len(written.exceptions)
    return text_of(pieces, words), exceptions


def _words(line: str) -> list[str]:
    """Return a line's tokens, each with the blanks before it, and its end with what is left."""
    tokens = re.findall(r" *[^ \n]+", line)
    return [*tokens, line[len("".join(tokens)) :]]


def read_lines(paths: Sequence[Path]) -> list[str]:
    """Return the lines of text files, each with its line end; FormatError for one that is not UTF-8, or that
    ends as Windows' do."""
    lines: list[str] = []
    for path in paths:
        for number, line in numbered_lines(path):
            if line.endswith("\r\n"):
                raise FormatError(f"{path}:{number}: ends in CR LF, not as published; get the file anew")
            lines.append(line)
    return lines
