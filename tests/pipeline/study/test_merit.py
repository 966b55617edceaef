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
