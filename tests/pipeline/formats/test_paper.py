"""The GPT-2 paper's figures as the results have them."""

import pytest

from model.config import GPTConfig, parameters
from pipeline.formats.paper import PAPER, PARAMETERS, SIZES, figures

SHAPES = {"117M": (12, 12, 768), "345M": (24, 16, 1024), "762M": (36, 20, 1280), "1542M": (48, 25, 1600)}


@pytest.mark.parametrize("label", SIZES)
def test_the_parameters_are_those_of_the_shapes_of_table_2(label: str):
    n_layer, n_head, n_embd = SHAPES[label]
    shape = GPTConfig(n_layer=n_layer, n_head=n_head, n_embd=n_embd, n_ctx=1024, vocab_size=50_257)

    assert parameters(shape) == PARAMETERS[label]


def test_shares_are_shares_and_points_are_points():
    for (task, metric), published in PAPER.items():
        values = published.figures.values()
        if metric.startswith(("accuracy", "f1", "exact_match", "shared", "own_training")):
            assert all(0 < value < 1 for value in values), (task, metric)
        if metric.startswith(("rouge", "bleu")):
            assert all(0.5 < value < 100 for value in values), (task, metric)


def test_the_means_that_the_paper_prints_are_those_of_its_figures():
    for suffix in ("", "_lead_3", "_random_3", "_no_hint"):
        kinds = [next(iter(figures("cnn_dailymail", f"rouge_{kind}{suffix}").values())) for kind in "12l"]
        *_, printed = figures("cnn_dailymail", f"rouge_average{suffix}").values()
        assert sum(kinds) / 3 == pytest.approx(printed, abs=0.006)
    overlaps = [list(figures("overlap", f"{column}_{task}").values())[0] for column, task in TABLE_6]
    assert sum(overlaps[:6]) / 6 == pytest.approx(0.032, abs=5e-4)
    assert sum(overlaps[6:]) / 6 == pytest.approx(0.059, abs=5e-4)


TABLE_6 = [
    (column, task)
    for column in ("shared", "own_training")
    for task in ("ptb", "wikitext2", "enwik8", "text8", "wikitext103", "one_billion_words")
]


def test_winograd_is_counted_in_schemata_of_273():
    for metric in ("accuracy_full", "accuracy_partial"):
        for value in figures("winograd", metric).values():
            assert 273 * value == pytest.approx(round(273 * value), abs=0.03)


def test_larger_models_are_better_but_for_what_the_paper_says():
    worse = {
        (task, metric)
        for (task, metric), published in PAPER.items()
        if list(published.figures) == list(SIZES)
        and sorted(published.figures.values(), reverse="perplexity" in metric or "bits" in metric)
        != list(published.figures.values())
    }

    assert worse == {("cbt_cn", "accuracy"), ("cnn_dailymail", "rouge_average")}


def test_a_task_that_the_paper_has_not_has_no_figures():
    assert figures("hellaswag", "accuracy") == {}
    assert figures("lambada", "perplexity")["117M"] == 35.13
