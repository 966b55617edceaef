"""How a seed learns: the paper's numbers where nothing is asked, its learning rate, its best epoch."""

import pytest

from pipeline.config import validate
from pipeline.finetune.seed import best_of, rate
from pipeline.finetune.stage import Config


def test_what_is_not_asked_for_is_as_in_the_paper():
    """GPT-1, section 4.1, and its released code (train.py); by hand."""
    config = validate(Config, {"out": "x", "checkpoint": "y", "dataset": "rte"}, "test")

    assert (config.optim.lr, config.batch_examples, config.epochs) == (6.25e-5, 32, 3)
    assert (config.warmup_fraction, config.language_model_weight) == (0.002, 0.5)
    assert (config.dropout, config.classifier_dropout) == (0.1, 0.1)
    assert (config.optim.betas, config.optim.weight_decay, config.optim.grad_clip) == (
        (0.9, 0.999),
        0.01,
        1.0,
    )
    assert config.seeds == [0, 1, 2] and config.transferred_layers is None


@pytest.mark.parametrize("done", [0.0, 0.0005, 0.002, 0.0021, 0.5, 0.999])
def test_the_learning_rate_warms_up_over_the_first_500th_and_falls_to_nothing(done):
    released = (done / 0.002 if done <= 0.002 else 1) * (1 - done)

    assert rate(done, 0.002) == pytest.approx(released)
    assert rate(done, 0.0) == pytest.approx(1 - done)


def test_the_best_epoch_is_the_first_of_equal_ones_and_none_without_a_number():
    rows = [
        {"step": 3, "validation_f1": 0.5},
        {"step": 6, "validation_f1": 0.7},
        {"step": 9, "validation_f1": 0.7},
        {"step": 12, "validation_f1": None},
        {"step": 13, "loss": 1.0},
    ]

    assert best_of(rows, "f1") == (0.7, 6)
    assert best_of(rows, "accuracy") is None
