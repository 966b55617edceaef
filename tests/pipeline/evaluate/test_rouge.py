"""ROUGE against figures worked out by hand, and against the package's own entry point."""

import builtins
import json
import random
from fractions import Fraction
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.evaluate.rouge import Rouge

GOLDEN = json.loads((Path(__file__).parent / "golden" / "rouge.json").read_text())
NAMES = ("rouge_1", "rouge_2", "rouge_l", "rouge_l_whole")


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["why"])
def test_figures_are_those_worked_out_by_hand(case):
    found = Rouge(stemmer=True).score(case["reference"], case["summary"])

    expected = {name: 100 * float(Fraction(case[name])) for name in NAMES}
    assert {name: found[name] for name in NAMES} == pytest.approx(expected)
    average = sum(expected[name] for name in NAMES[:3]) / 3
    assert found["rouge_average"] == pytest.approx(average)


def test_without_the_stemmer_words_are_equal_as_they_stand():
    found = Rouge(stemmer=False).score(["Prices were falling."], ["price fall"])

    assert set(found.values()) == {0}


def test_figures_are_those_that_the_package_gives_for_lines():
    from rouge_score.rouge_scorer import RougeScorer

    text = "the a cat cats sat sits on mat mats dogs dog barked loudly 3 %"
    draw, words = random.Random(0), text.split()
    kinds = ("rouge1", "rouge2", "rougeLsum", "rougeL")
    package, ours = RougeScorer(kinds, use_stemmer=True), Rouge(stemmer=True)
    for _ in range(50):
        reference, summary = (
            [" ".join(draw.choices(words, k=draw.randint(1, 12))) for _ in range(draw.randint(0, 4))]
            for _ in range(2)
        )
        expected = package.score("\n".join(reference), "\n".join(summary))
        found = ours.score(reference, summary)
        assert [found[name] for name in NAMES] == [100 * expected[kind].fmeasure for kind in kinds]


def test_the_signature_says_which_version_counts_how():
    from importlib.metadata import version

    assert Rouge(stemmer=True).signature == f"rouge-score {version('rouge-score')}, Porter stemmer"
    assert Rouge(stemmer=False).signature.endswith("no stemmer")


def test_without_the_package_the_remedy_is_named(monkeypatch):
    real = builtins.__import__

    def absent(name, *rest, **options):
        if name.startswith("rouge_score"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ConfigError, match=r"No module named.*pip install loglinear\[eval\]"):
        Rouge(stemmer=True)
