"""How well copies of Wikipedia are told from other texts: `python -m benchmarks.phases.wikipedia DATA`.

DATA is the folder of real inputs: `text/` has a piece of a dump, summaries of articles and two books, `web/`
the article-extraction-benchmark, `eval/` RACE. Copies of the dump's articles are made by another reader of
wikitext (mwparserfromhell), with citation marks; copies of the summaries by changing a share of their words.
"""

from __future__ import annotations

import bz2
import gzip
import json
import random
import re
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree

from pipeline.data.execute import ExecuteConfig
from pipeline.data.phase import PhaseRun
from pipeline.data.wikipedia import TextConfig, WikipediaConfig, WikipediaText, build_index

DUMP, SUMMARIES = "text/enwiki-sample-gensim.xml.bz2", "text/wiki_vital_summaries.jsonl"
EDITS = (0.0, 0.05, 0.1, 0.2, 0.4)  # share of words changed
PIECE = 5000  # characters of a book that make a document
_REFERENCE = re.compile(r"<ref[^>]*/>|<ref.*?</ref>", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What is found of copies, and what is wrongly taken for one."""

    copies: int
    recall: float
    edited_recall: dict[float, float]  # by share of words changed
    others: int
    false_drops: int
    highest_other_share: float

    def __str__(self) -> str:
        lines = [f"copies by another reader     {self.copies:>6}  recall {self.recall:.3f}"]
        lines += [
            f"copies with {share:>4.0%} of words new  recall {recall:.3f}"
            for share, recall in self.edited_recall.items()
        ]
        lines.append(
            f"other texts                  {self.others:>6}  dropped {self.false_drops}, "
            f"highest share {self.highest_other_share:.3f}"
        )
        return "\n".join(lines)


def measure(data: Path, work: Path, every: int = 1) -> Quality:
    """Return the quality at the default thresholds; of all texts only `every`-th is tried."""
    text = index_of([data / DUMP, data / SUMMARIES], work)
    least = TextConfig().document_share
    copies = [text.share_of(copy) > least for copy in rendered(data / DUMP, every)]
    rows = (data / SUMMARIES).read_text(encoding="utf-8").splitlines()[::every]
    originals = [json.loads(row)["text"] for row in rows]
    others = [text.share_of(other) for other in islice(other_texts(data), 0, None, every)]
    return Quality(
        copies=len(copies),
        recall=mean(copies),
        edited_recall={
            share: mean(text.share_of(copy) > least for copy in edited(originals, share)) for share in EDITS
        },
        others=len(others),
        false_drops=sum(share > least for share in others),
        highest_other_share=max(others),
    )


def index_of(dump: list[Path], work: Path) -> WikipediaText:
    """Return the n-grams of a dump, made as the phase makes them."""
    phase = PhaseRun(
        name="wikipedia",
        dataset=work,
        source=work / "in",
        work=work / "work",
        execute=ExecuteConfig(workers=1),
    )
    config = WikipediaConfig(dump=[str(path) for path in dump])
    return WikipediaText.read(build_index(config, phase), config.text)


def rendered(dump: Path, every: int) -> Iterator[str]:
    """Yield articles of the dump as pages would show them, by a reader that shares no code with ours."""
    import mwparserfromhell

    root = ElementTree.fromstring(bz2.decompress(dump.read_bytes()))
    names = {"": root.tag.partition("}")[0].removeprefix("{")}
    pages = [
        page.findtext("revision/text", "", names)
        for page in root.iterfind("page", names)
        if page.find("redirect", names) is None and page.findtext("ns", "", names) == "0"
    ]
    for wikitext in pages[::every]:
        pieces = _REFERENCE.split(wikitext)
        marked = "".join(f"{piece}[{number}]" for number, piece in enumerate(pieces, start=1))
        yield mwparserfromhell.parse(marked).strip_code().replace("\n", "\n\n")


def edited(texts: list[str], share: float) -> Iterator[str]:
    """Yield the texts with a share of their words replaced by words of other texts."""
    chance = random.Random(f"{share}")
    others = " ".join(texts[:200]).split()
    for text in texts:
        yield " ".join(chance.choice(others) if chance.random() < share else word for word in text.split())


def other_texts(data: Path) -> Iterator[str]:
    """Yield documents that are not Wikipedia's: news pages, books, school texts."""
    with tarfile.open(data / "web/article-extraction-benchmark.tar.gz") as archive:
        [truth] = [each for each in archive if each.name.endswith("ground-truth.json")]
        file = archive.extractfile(truth)
        assert file is not None
        yield from (page["articleBody"].replace("\n", "\n\n") for page in json.load(file).values())
    for book in ("warandpeace", "tinyshakespeare"):
        text = (data / f"text/{book}.txt").read_text(encoding="utf-8", errors="replace")
        yield from (text[start : start + PIECE] for start in range(0, len(text), PIECE))
    for part in ("dev_high", "test_high"):
        for row in (data / f"eval/race/{part}.jsonl").read_text(encoding="utf-8").splitlines():
            yield json.loads(row)["article"].replace("\n", "\n\n")


def mean(values: Iterable[bool]) -> float:
    """Return the share of true ones."""
    known = list(values)
    return sum(known) / len(known)


def larger_dump(data: Path, work: Path) -> Path:
    """Return enwik8, 100 MB of the dump of 2006, made whole again: it is cut off within a page."""
    content = gzip.decompress((data / "text/enwik8.gz").read_bytes())
    path = work / "enwik8.xml"
    path.write_bytes(content[: content.rindex(b"</page>")] + b"</page></mediawiki>")
    return path


if __name__ == "__main__":
    inputs = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        print(measure(inputs, Path(folder) / "small"))
        against_more = index_of([larger_dump(inputs, Path(folder))], Path(folder) / "large")
        shares = [against_more.share_of(other) for other in other_texts(inputs)]
        dropped = mean(share > TextConfig().document_share for share in shares)
        print(
            f"against enwik8's 13 million words: {dropped:.1%} of {len(shares)} other texts dropped, "
            f"highest share {max(shares):.3f}"
        )
