"""BLEU against figures worked out by hand, and against sacrebleu's own entry point."""

import builtins
import json
import random
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.evaluate.bleu import Bleu

GOLDEN = json.loads((Path(__file__).parent / "golden" / "bleu.json").read_text())
TEXT = "le prix a baissé de 3,5 % , . \" l'usine hier The cat sat on U.S. mats — « » & <b>"
WORDS = TEXT.split()


def sentence(draw, most=14):
    return " ".join(draw.choices(WORDS, k=draw.randint(0, most)))


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["why"])
def test_figures_are_those_worked_out_by_hand(case):
    bleu = Bleu("13a")

    counts = [bleu.counts(*line) for line in case["lines"]]

    assert counts == case["counts"]
    assert bleu.corpus(counts).value == pytest.approx(case["bleu"])


@pytest.mark.parametrize("tokenize", ["13a", "intl", "none"])
def test_figures_from_counts_are_those_that_sacrebleu_gives_for_the_texts(tokenize):
    from sacrebleu.metrics import BLEU

    draw, bleu, package = random.Random(1), Bleu(tokenize), BLEU(tokenize=tokenize, force=True)
    for _ in range(10):
        lines = [(sentence(draw), f"{sentence(draw)} end") for _ in range(draw.randint(1, 20))]
        expected = package.corpus_score([line[0] for line in lines], [[line[1] for line in lines]])
        found = bleu.corpus([bleu.counts(*line) for line in lines])
        assert found.value == pytest.approx(expected.score) and found.num_examples == len(lines)
    assert bleu.signature == str(package.get_signature())


def test_the_error_is_that_of_drawing_lines_anew():
    draw, bleu = random.Random(2), Bleu("13a")
    counts = []
    for _ in range(400):
        words = [draw.choice(WORDS[:6]) for _ in range(12)]
        translation = [word if draw.random() < 0.8 else "x" for word in words]
        counts.append(bleu.counts(" ".join(translation), " ".join(words)))

    found = bleu.corpus(counts)
    parts = [bleu.corpus(counts[start::8]).value for start in range(8)]

    spread = (sum((part - sum(parts) / 8) ** 2 for part in parts) / 7) ** 0.5
    assert found == bleu.corpus(counts)
    assert found.stderr == pytest.approx(spread / 8**0.5, rel=0.8)
    assert bleu.corpus(counts[:1]).stderr is None


def test_a_short_sentence_is_scored_by_the_orders_it_has():
    bleu = Bleu("13a")

    assert bleu.sentence("the cat", "the cat") == pytest.approx(100)
    assert bleu.sentence("", "the cat") == 0


def test_the_signature_is_sacrebleus():
    assert Bleu("13a").signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")


def test_an_unknown_tokenizer_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"tokenize is 'moses', but sacrebleu knows 13a, char"):
        Bleu("moses")


def test_without_the_package_the_remedy_is_named(monkeypatch):
    real = builtins.__import__

    def absent(name, *rest, **options):
        if name.startswith("sacrebleu"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ConfigError, match=r"No module named.*pip install loglinear\[eval\]"):
        Bleu("13a")
