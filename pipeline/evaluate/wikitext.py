"""WikiText-2 and WikiText-103 (Merity et al., 2016): articles with blanks between all tokens.

They were published twice: raw, and with every rare word replaced by `<unk>`. The paper (section 3.1) does not
say which it scored; reproductions of its figures used the raw one, and so does this by default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from pipeline.config import identity
from pipeline.evaluate.detokenize import WIKITEXT
from pipeline.evaluate.language import LanguageTask, Windows
from pipeline.evaluate.original import Text, read_lines, text_as_it_is, written_text
from pipeline.evaluate.task import Setting
from pipeline.formats.source import Hub, Rows, Source

RAW_TEST_SHA256 = "173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08"
WHERE = "https://huggingface.co/datasets/Salesforce/wikitext ({})"


class WikiText(Windows):
    """Which of the published files is read, and as what text."""

    version: Literal["raw", "tokens"] = identity("raw", description="tokens: rare words are <unk>")
    text: Literal["detokenized", "original", "lm-eval"] = identity(
        "detokenized",
        description="original: with blanks between all tokens; lm-eval: articles alone and by its "
        "detokenizer, which cannot be inverted, words and bytes counted as it does",
    )


def source(name: str, layouts: Sequence[str], sums: Mapping[str, str], hub_name: str) -> Source[str]:
    """Return a test file; a row is a line."""
    return Source(
        name=name,
        layouts=tuple((layout,) for layout in layouts),
        parse=read_lines,
        where=WHERE.format(hub_name),
        sums=sums,
        hub=Hub(path="Salesforce/wikitext", name=hub_name, split="test", row=_hub_row),
    )


def task(name: str, config: WikiText, rows: Rows[str], setting: Setting) -> LanguageTask:
    """Return the task of a test file's lines."""
    if config.text == "lm-eval":
        texts = [_page_text(page) for page in pages(rows.rows)]
        how = "each article alone, written by lm-eval's detokenizer; words and bytes counted as lm-eval does"
    elif config.text == "original":
        texts = [text_as_it_is(rows.rows)]
        how = "one text as it is, with a blank around every token; a line end is a word"
    else:
        text, kept = written_text(rows.rows, WIKITEXT)
        texts = [text]
        how = (
            f"one text, written by an invertible detokenizer ({kept} chunks are exceptions); a line end is a "
            "word; bytes are the original's"
        )
    protocol = f"test file, {config.version}: {how}"
    return LanguageTask(name, protocol, rows.sha256, texts, config.sizes(name, setting), setting)


def pages(lines: Sequence[str]) -> list[str]:
    """Return the articles: each begins with a heading of the first rank, ` = Title = `.

    The last line's end is no part of the last article, as in the copy of WikiText that lm-eval reads, where a
    line end stands between lines.
    """
    found: list[list[str]] = []
    for line in "".join(lines).split("\n"):
        if not found or _is_title(line):
            found.append([])
        found[-1].append(line)
    articles = ["\n".join(page) for page in found]
    return [article for article in articles if article.strip()]


_REPLACED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), put)
    for pattern, put in (
        (r"s '", "s'"),
        (r"/' [0-9]/", r"/'[0-9]/"),
        (r" @([-,.])@ ", r"\1"),
        *((rf" {re.escape(mark)} ", f"{mark} ") for mark in ":;.!?,"),
        (r"\(\s*([^\)]*?)\s*\)", r"(\1)"),
        (r"\[\s*([^\]]*?)\s*\]", r"[\1]"),
        (r"{\s*([^}]*?)\s*}", r"{\1}"),
        (r"\"\s*([^\"]*?)\s*\"", r'"\1"'),
        (r"'\s*([^']*?)\s*'", r"'\1'"),
        (r"= = = =", "===="),
        (r"= = =", "==="),
        (r"= =", "=="),
        (r" ° ", "°"),
        (r" \n", "\n"),
        (r"\n ", "\n"),
        (r" N ", " 1 "),
        (r" 's", "'s"),
    )
)


def lm_eval_text(page: str) -> str:
    """Return an article as lm-eval's task `wikitext` (version 2) writes it; what it takes away is lost."""
    for pattern, put in _REPLACED:
        page = pattern.sub(put, page)
    return page


def _page_text(page: str) -> Text:
    """Return an article whose words and bytes, counted as lm-eval does, are over with its last byte."""
    text = lm_eval_text(page)
    totals = {"words": len(re.split(r"\s+", page)), "bytes": len(page.encode())}
    counts = {}
    for unit, total in totals.items():
        counts[unit] = np.zeros(len(text.encode()) + 1, dtype=np.int64)
        counts[unit][-1] = total
    return Text(text, counts)


def _is_title(line: str) -> bool:
    bare = line.replace("= = =", "===").replace("= =", "==").strip()
    return bare.startswith("= ") and bare.endswith(" =")


def _hub_row(row: Mapping[str, Any]) -> str:
    return str(row["text"]) or " \n"  # the hub's copy has an empty string for a line of one blank
