"""Published families in the series table: the figures of the papers, and what is known of their lines."""

import csv
import json
from pathlib import Path

import pytest

from pipeline.study import anchors
from pipeline.study.families import ACCURACIES, FAMILIES


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], anchors.Anchor]:
    return {(one.family, one.metric): one for one in anchors.anchors()}


def test_gpt2_has_the_eighteen_series_of_its_paper_and_the_others_nine_each(found):
    counts = {family: sum(one == family for one, _ in found) for family, _ in found}

    assert counts == {"GPT-2": 18, "Cerebras-GPT": 9, "Pythia": 9}


@pytest.mark.parametrize(
    ("family", "metric", "slope", "r2"),
    [  # in shares; the log-log R² of both families' losses stands below
        ("GPT-2", "lambada.accuracy_stop_word_filter", 0.158, 0.975),
        ("GPT-2", "enwik8.bits_per_byte", -0.21, 0.934),
        ("GPT-2", "webtext.perplexity_test", -6.1, 0.960),
        ("Cerebras-GPT", "seven_tasks.accuracy", 0.122, 0.974),
        ("Cerebras-GPT", "lambada.accuracy", 0.247, 0.995),
        ("Pythia", "seven_tasks.accuracy", 0.103, 0.996),
        ("Pythia", "arc_easy.accuracy", 0.132, 0.997),
    ],
)
def test_slopes_and_r2_are_the_known_ones(found, family, metric, slope, r2):
    row = found[family, metric].described

    assert row.slope == pytest.approx(slope, rel=0.03)
    assert row.r2 == pytest.approx(r2, abs=0.002)


def test_loss_bends_at_fixed_tokens_and_not_at_twenty_tokens_a_parameter(found):
    fixed, grown = (found[family, "pile.loss"].described for family in ("Pythia", "Cerebras-GPT"))

    assert (fixed.log_log_r2, fixed.shape) == (
        pytest.approx(0.96, abs=0.002),
        "saturating: a line promises too much",
    )
    assert (grown.log_log_r2, grown.shape) == (pytest.approx(0.998, abs=0.002), "straight")


def test_only_common_nouns_and_summaries_of_gpt2_do_not_grow_at_every_step(found):
    wrong = {
        metric for (family, metric), one in found.items() if family == "GPT-2" and one.described.wrong_steps
    }

    assert wrong == {"cbt_cn.accuracy", "cnn_dailymail.rouge_average"}


def test_a_metric_of_the_papers_has_its_chance_and_noise_and_a_rouge_has_neither(found):
    piqa, rouge = (
        found["Pythia", "piqa.accuracy"].series,
        found["GPT-2", "cnn_dailymail.rouge_average"].series,
    )

    assert piqa.chance == 0.5
    assert piqa.noise == pytest.approx(0.0108, abs=2e-4)
    assert (rouge.chance, rouge.noise) == (None, None)


def test_rows_are_plain_json_with_the_regime_of_tokens(found):
    rows = json.loads(json.dumps(anchors.rows(), allow_nan=False))

    assert len(rows) == len(found)
    assert {row["regime"] for row in rows if row["family"] == "Cerebras-GPT"} == {"20 tokens per parameter"}
    assert next(row for row in rows if row["family"] == "Pythia")["tokens"] == [299_892_736_000] * 2


@pytest.mark.real_data
def test_the_figures_are_those_of_the_published_table(real_data: Path):
    with (real_data / "scaling" / "cerebras_gpt" / "zero_shot_and_pile_loss.csv").open() as file:
        table = [row for row in csv.DictReader(file) if row["family"] in ("Cerebras", "Pythia")]
    names = ["hellaswag", "piqa", "winogrande", "lambada", "arc_e", "arc_c", "openbookqa"]

    published = [
        (float(row["pile_test_xent_paper_mup_card"]), *(float(row[name]) for name in names)) for row in table
    ]

    assert published == [(size.loss, *size.accuracies) for family in FAMILIES for size in family.sizes]
    assert [float(row["tokens"]) for row in table] == [
        size.tokens for family in FAMILIES for size in family.sizes
    ]
    assert len(names) == len(ACCURACIES)
