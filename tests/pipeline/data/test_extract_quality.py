"""The extractors on real pages whose articles people marked."""

import sys
from pathlib import Path

import pytest

from benchmarks.phases.extract_quality import PUBLISHED_F1, runs, score
from pipeline.data.extractors.resiliparse import Config as Resiliparse
from pipeline.data.extractors.trafilatura import Config as Trafilatura

ARCHIVE = Path("web") / "article-extraction-benchmark.tar.gz"


def test_a_run_that_occurs_twice_counts_twice():
    assert runs("a b c d a b c d") == {
        ("a", "b", "c", "d"): 2,
        ("b", "c", "d", "a"): 1,
        ("c", "d", "a", "b"): 1,
        ("d", "a", "b", "c"): 1,
    }
    assert (runs("a, b!"), runs(" .")) == ({("a", "b"): 1}, {})


@pytest.mark.real_data
def test_trafilatura_as_configured_by_default_is_as_good_as_its_authors_say(real_data: Path, capsys):
    found = score(Trafilatura(), real_data / ARCHIVE)

    with capsys.disabled():
        sys.stdout.write(f"\ntrafilatura  {found}; published F1 {PUBLISHED_F1}\n")
    assert found.pages == 181
    assert found.f1 >= PUBLISHED_F1 - 0.01


@pytest.mark.real_data
def test_resiliparse_finds_nearly_all_of_an_article_and_more_besides(real_data: Path, capsys):
    found = score(Resiliparse(), real_data / ARCHIVE)

    with capsys.disabled():
        sys.stdout.write(f"\nresiliparse  {found}\n")
    assert found.recall > 0.97
    assert found.f1 > 0.90
