"""What is known of a metric by its name, against the sets themselves."""

import pytest

from pipeline.config import Kind
from pipeline.finetune.measure import guessed
from pipeline.study import merit


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["cola", "mrpc", "race", "rte", "snli", "sst2"])
def test_what_guessing_gives_on_a_labelled_set_is_what_its_validation_set_says(real_data, name):
    dataset = Kind("pipeline.finetune.datasets").config(name)().build()

    found = guessed(dataset, dataset.read("validation", real_data / "eval").examples)

    assert found
    for metric, chance in found.items():
        assert merit.chance(f"finetune.{name}.{metric}") == pytest.approx(chance, abs=5e-5), metric


@pytest.mark.parametrize(
    ("metric", "other", "same"),
    [
        ("held_out.loss", "held_out.bits_per_byte", True),
        ("held_out.loss", "held_out.perplexity", False),
        ("held_out.loss", "wikitext2.loss", False),
        ("wikitext2.perplexity", "wikitext2.word_perplexity", True),
        ("last_word.accuracy", "last_word.accuracy_word_seen", True),
        ("last_word.perplexity", "last_word.perplexity_word_seen", True),
        ("finetune.cola.matthews", "finetune.cola.accuracy", False),
    ],
)
def test_one_fact_in_two_units_or_in_part_is_told_once(metric: str, other: str, same: bool) -> None:
    assert (merit.fact(metric) == merit.fact(other)) is same
