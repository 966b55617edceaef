"""Published scaling results, from their published data: what was found, and what must not be accepted."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from pipeline.study import form as forms
from pipeline.study import series
from pipeline.study.fit import FitRequest, run_fit
from pipeline.study.problem import Problem
from pipeline.study.series import Series
from pipeline.study.solve import descend, has_arrived

pytestmark = pytest.mark.real_data

GPT2_SIZES = np.array([124_439_808, 354_823_168, 774_030_080, 1_557_611_200.0])
CHINCHILLA = {
    "A": 406.4,
    "B": 410.7,
    "E": 1.69,
    "alpha": 0.339,
    "beta": 0.285,
}  # where Hoffmann's search stopped


def refit(real_data: Path, tmp_path: Path, **options) -> dict:
    path = real_data / "scaling" / "chinchilla_epoch" / "svg_extracted_data.csv"
    columns = {"params": "Model Size", "flops": "Training FLOP", "value": "loss"}
    run_fit(FitRequest(table=path, form="hoffmann", **columns, **options), tmp_path / "fit.json")
    return json.loads((tmp_path / "fit.json").read_text())


def points_of(real_data: Path) -> Problem:
    """The 240 points of Besiroglu et al. 2024: the five highest losses are left out."""
    with (real_data / "scaling" / "chinchilla_epoch" / "svg_extracted_data.csv").open() as file:
        rows = [
            [float(row[name]) for name in ("Model Size", "Training FLOP", "loss")]
            for row in csv.DictReader(file)
        ]
    params, flops, loss = np.array(sorted(rows, key=lambda row: row[2])[:-5]).T
    return Problem.of(
        forms.load("hoffmann"), "huber-log", np.column_stack([params, flops / 6 / params]), loss
    )


def test_the_replication_of_chinchilla_is_found_to_four_digits(real_data, tmp_path):
    found = refit(real_data, tmp_path, drop_highest=5, bootstrap=2)

    truth = {"A": 477.83, "B": 2143.4, "E": 1.81722, "alpha": 0.34731, "beta": 0.36717}
    assert found["n"] == 240
    assert found["objective"] == pytest.approx(0.0010182740, abs=5e-11)
    assert found["coefficients"] == pytest.approx(truth, rel=1e-4)
    assert found["exponents"]["a"] == pytest.approx(0.514, abs=0.001)
    assert found["converged"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_its_thousand_bootstraps_give_the_published_intervals(real_data, tmp_path):
    found = refit(real_data, tmp_path, drop_highest=5, bootstrap=1000)

    assert found["intervals"]["alpha"] == pytest.approx([0.317, 0.371], abs=0.01)
    assert found["intervals"]["beta"] == pytest.approx([0.332, 0.415], abs=0.01)
    low, high = found["intervals"]["a"]
    assert found["exponents"]["a"] == pytest.approx(0.514, abs=0.001)
    assert (high - low) / 2 / 1.96 == pytest.approx(0.02, abs=0.003)


def test_squared_error_below_1e21_flops_gives_the_published_sum_of_squares(real_data, tmp_path):
    found = refit(real_data, tmp_path, drop_highest=5, where='"Training FLOP" < 1e21', loss="mse")

    coefficients = found["coefficients"]
    assert found["n"] == 217
    assert found["rss"] == pytest.approx(0.062414, abs=5e-7)
    assert (coefficients["E"], coefficients["alpha"]) == pytest.approx((1.9051, 0.3511), abs=5e-5)
    assert coefficients["beta"] == pytest.approx(0.4587, abs=5e-5)
    assert coefficients["A"] / 1e6 ** coefficients["alpha"] == pytest.approx(4.0005, abs=1e-3)
    assert coefficients["B"] / 1e9 ** coefficients["beta"] == pytest.approx(1.0509, abs=1e-3)


def test_the_five_highest_losses_matter(real_data, tmp_path):
    found = refit(real_data, tmp_path, bootstrap=2)["coefficients"]

    assert (found["E"], found["alpha"], found["beta"]) == pytest.approx((1.891, 0.349, 0.453), abs=1e-3)


def test_the_early_stop_behind_chinchillas_exponents_is_not_called_converged(real_data):
    problem, count = points_of(real_data), 240
    start = problem.join(
        np.array([CHINCHILLA[name] for name in ("E", "A", "B")]),
        np.array([CHINCHILLA["alpha"], CHINCHILLA["beta"]]),
    )

    # The mean of the losses instead of their sum is so small that a search with usual tolerances stops.
    stopped = minimize(
        lambda p: problem.objective(p) / count,
        start,
        jac=lambda p: problem.curvature(p)[0] / count,
        method="L-BFGS-B",
    )

    assert stopped.success
    assert stopped.x[3:] == pytest.approx([0.339, 0.285], abs=2e-3)
    assert problem.objective(stopped.x) == pytest.approx(0.00117, abs=2e-5)
    assert not has_arrived(problem, stopped.x)
    assert problem.remainder(stopped.x) > 1e-3
    assert descend(problem, stopped.x).objective == pytest.approx(0.0010182740, abs=5e-11)


# Slope per decade, R², the line's error at the largest, R² of the power law; None where it is not quoted.
EIGHTEEN = {
    "lambada_acc": (15.8, 0.975, 2.9, None),
    "cbt_cn_acc": (5.2, 0.81, 2.9, None),
    "cbt_ne_acc": (5.0, 0.93, 1.2, None),
    "winograd_partial_acc": (9.3, 0.865, -0.05, None),
    "winograd_full_acc": (10.6, 0.962, 0.3, None),
    "coqa_f1": (26, 0.955, 5.7, None),
    "wmt14_fren_bleu": (9.8, 0.951, -2.5, 0.979),
    "cnndm_rouge_avg": (4.1, 0.79, 2.4, None),
    "nq_acc": (2.9, 0.971, -0.7, None),
    "lambada_ppl": (None, 0.88, -9.4, 0.965),
    "wikitext2_ppl": (None, 0.954, -2.5, 0.977),
    "ptb_ppl": (None, 0.949, -6.8, 0.979),
    "wikitext103_ppl": (None, 0.976, -2.3, 0.995),
    "1bw_ppl": (None, 0.943, -10.1, 0.964),
    "enwik8_bpb": (-0.21, 0.934, -0.05, 0.947),
    "text8_bpc": (-0.17, 0.968, -0.03, 0.976),
    "webtext_train_ppl": (None, None, None, None),
    "webtext_test_ppl": (-6.1, 0.960, -1.4, 0.982),
}


def gpt2(real_data: Path) -> dict[str, series.Described]:
    with (real_data / "scaling" / "gpt2_paper" / "gpt2_paper_by_size.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {
        row["metric"]: series.described(
            Series(
                name=row["metric"],
                sizes=GPT2_SIZES,
                values=np.array([float(row[label]) for label in ("117M", "345M", "762M", "1542M")]),
                higher_is_better=row["higher_is_better"] == "1",
            )
        )
        for row in rows
    }


def test_the_eighteen_series_of_gpt2_stand_in_one_table(real_data):
    found = gpt2(real_data)
    table = series.markdown(list(found.values()))

    assert set(found) == set(EIGHTEEN)
    assert len(table.splitlines()) == 20
    for name, (slope, r2, error, log_log) in EIGHTEEN.items():
        row = found[name]
        assert slope is None or row.slope == pytest.approx(slope, rel=0.03), name
        assert r2 is None or row.r2 == pytest.approx(r2, abs=0.006), name
        assert error is None or row.held_out_error == pytest.approx(error, abs=0.06), name
        assert log_log is None or row.log_log_r2 == pytest.approx(log_log, abs=0.006), name
    assert [name for name, row in found.items() if row.wrong_steps] == ["cbt_cn_acc", "cnndm_rouge_avg"]


def test_a_line_over_predicts_what_saturates_and_under_predicts_what_has_a_threshold(real_data):
    shapes = {name: row.shape.partition(":")[0] for name, row in gpt2(real_data).items()}

    assert {name for name, shape in shapes.items() if shape == "accelerating"} == {
        "wmt14_fren_bleu",
        "nq_acc",
    }
    assert {name for name, shape in shapes.items() if shape == "straight"} == {
        "winograd_partial_acc",
        "winograd_full_acc",
    }
    assert shapes["coqa_f1"] == shapes["lambada_ppl"] == "saturating"
