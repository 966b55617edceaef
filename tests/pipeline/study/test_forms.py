"""Hoffmann's law, overtraining's and the sigmoid: planted laws recovered, and what is said where not."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.study import form as forms
from pipeline.study.caveats import condition
from pipeline.study.fit import Fit, FitRequest, fit_points, run_fit
from pipeline.study.table import Points

N = np.repeat(np.geomspace(1e7, 2e9, 6), 6)
D = np.tile(np.geomspace(2e8, 1e11, 6), 6)
C = 6 * N * D
HOFFMANN = 1.7 + 400 * N**-0.34 + 410 * D**-0.28
OVERTRAINING = 1.8 + (100 * (D / N) ** 0.12 + 180 * (D / N) ** -0.12) * C**-0.12


def fit(name: str, inputs, values, **options) -> Fit:
    inputs = np.asarray(inputs, dtype=float).reshape(len(values), -1)
    names = tuple(f"run-{i}" for i in range(len(values)))
    points = Points(inputs=inputs, values=np.asarray(values, dtype=float), weights=None, names=names)
    return fit_points(forms.load(name), points, **options)


def scatter(count: int, size: float, seed: int = 0):
    return size * np.random.default_rng(seed).standard_normal(count)


@pytest.mark.parametrize("loss", forms.LOSSES)
def test_hoffmanns_law_is_recovered_with_its_exponents(loss):
    found = fit("hoffmann", np.column_stack([N, D]), HOFFMANN, loss=loss, draws=1)

    truth = {"E": 1.7, "A": 400, "B": 410, "alpha": 0.34, "beta": 0.28}
    assert found.solution.converged
    assert found.solution.coefficients == pytest.approx(truth, rel=1e-6)
    assert found.solution.exponents == pytest.approx({"a": 0.28 / 0.62, "b": 0.34 / 0.62})


@pytest.mark.parametrize("loss", forms.LOSSES)
def test_the_law_of_overtraining_is_recovered(loss):
    found = fit("overtraining", np.column_stack([N, D, C]), OVERTRAINING, loss=loss, draws=1)

    assert found.solution.converged
    assert found.solution.coefficients == pytest.approx({"E": 1.8, "a": 100, "b": 180, "eta": 0.12}, rel=1e-6)


def test_overtraining_is_hoffmanns_law_with_equal_exponents():
    found = fit("hoffmann", np.column_stack([N, D]), OVERTRAINING, loss="mse").solution.coefficients

    assert found["alpha"] == pytest.approx(0.24, rel=1e-6)
    assert found["beta"] == pytest.approx(0.24, rel=1e-6)
    assert found["A"] == pytest.approx(100 * 6**-0.12, rel=1e-5)


@pytest.mark.parametrize(
    ("slope", "center", "x"),
    [
        (-9, 1.1, np.linspace(0.7, 1.4, 12)),
        (2, 8.4, np.linspace(5, 11, 9)),
        (30, -0.2, np.linspace(-1, 1, 14)),
    ],
)
def test_a_sigmoid_is_told_with_low_below_high_whichever_way_it_runs(slope, center, x):
    found = fit("sigmoid", x, 0.25 + 0.65 / (1 + np.exp(-slope * (x - center))))

    truth = {"low": 0.25, "high": 0.9, "slope": slope, "center": center}
    assert found.solution.converged
    assert found.solution.coefficients == pytest.approx(truth, rel=1e-5)
    assert found.interval_method == "none needed: the points lie on the law"


def test_intervals_of_a_noisy_sigmoid_hold_its_levels():
    x = np.linspace(0.7, 1.4, 12)
    found = fit("sigmoid", x, 0.25 + 0.65 / (1 + np.exp(9 * (x - 1.1))) + scatter(12, 0.01))

    for name, truth in {"low": 0.25, "high": 0.9, "slope": -9, "center": 1.1}.items():
        low, high = found.bounds[name]
        assert low < truth < high
    assert found.interval_method == "profile, F test with 8 degrees of freedom"


def test_half_a_sigmoid_does_not_say_where_it_ends():
    x = np.linspace(1.05, 1.4, 10)
    found = fit("sigmoid", x, 0.25 + 0.65 / (1 + np.exp(9 * (x - 0.9))) + scatter(10, 0.01))

    assert any("do not bound" in warning and "high" in warning for warning in found.warnings)


def test_exponents_have_intervals_by_either_method():
    inputs, values = np.column_stack([N, D]), HOFFMANN * np.exp(scatter(36, 0.01))
    profile = fit("hoffmann", inputs, values, loss="mse-log")
    drawn = fit("hoffmann", inputs, values, loss="mse-log", draws=80)

    for found in (profile, drawn):
        low, high = found.bounds["a"]
        assert low < 0.28 / 0.62 < high
        assert found.bounds["b"] == pytest.approx((1 - high, 1 - low))
        assert 0.01 < high - low < 0.3
    assert profile.interval_method.endswith("a and b linearised")
    assert "compute-optimal: params ~ flops^0.4" in str(profile)


def test_tokens_in_proportion_to_parameters_leave_the_exponents_untold_and_say_so():
    sizes = np.geomspace(1e7, 1e10, 12)
    values = (1.7 + 400 * sizes**-0.34 + 410 * (20 * sizes) ** -0.28) * np.exp(scatter(12, 0.002))

    found = fit("hoffmann", np.column_stack([sizes, 20 * sizes]), values, loss="mse-log", draws=2)

    assert condition(found.solution) > 100
    assert any("ill-conditioned" in warning for warning in found.warnings)
    assert any("params and tokens move together" in warning for warning in found.warnings)


def test_a_term_that_does_not_fall_or_that_grows_is_named():
    idle = fit("hoffmann", np.column_stack([N, D]), 1 + 50 * N**-0.3, loss="mse")
    grown = fit("offset-power", N[::6], [1.0, 1.1, 1.2, 1.35, 1.5, 1.7], draws=1)

    assert any("a term that does not fall is another offset" in warning for warning in idle.warnings)
    assert any("below zero: a term grows with size" in warning for warning in grown.warnings)


def test_points_that_span_both_are_well_conditioned():
    found = fit("hoffmann", np.column_stack([N, D]), HOFFMANN * np.exp(scatter(36, 0.01)), loss="mse-log")

    assert condition(found.solution) < 50
    assert not any("ill-conditioned" in warning for warning in found.warnings)


def test_a_step_against_the_trend_is_counted_and_a_flat_line_is_called_flat():
    sizes = np.geomspace(1e4, 1e7, 7)

    dented = fit("log-linear", sizes, [3, 2.8, 2.9, 2.4, 2.2, 2.0, 1.8])
    flat = fit("log-linear", sizes, [0.5, 0.51, 0.49, 0.5, 0.52, 0.48, 0.5])

    assert "non-monotone: 1 of 6 steps go against the trend" in dented.warnings
    assert any("no trend" in warning and "at chance" in warning for warning in flat.warnings)


def fit_table(tmp_path: Path, text: str, form: str, **options) -> dict:
    (tmp_path / "points.csv").write_text(text)
    request = FitRequest(table=tmp_path / "points.csv", form=form, value="loss", **options)
    run_fit(request, tmp_path / "fit.json")
    return json.loads((tmp_path / "fit.json").read_text())


@pytest.mark.parametrize(
    ("form", "values", "loss", "exponents"),
    [
        ("hoffmann", HOFFMANN, "huber-log", {"a": 0.28 / 0.62, "b": 0.34 / 0.62}),
        ("overtraining", OVERTRAINING, "huber-log", {"a": 0.5, "b": 0.5}),
    ],
)
def test_a_table_without_tokens_gives_them_from_flops(tmp_path, form, values, loss, exponents):
    rows = "".join(f"{n!r},{c!r},{v!r}\n" for n, c, v in zip(*map(list, (N, C, values)), strict=True))
    found = fit_table(
        tmp_path,
        "Model Size,FLOP,loss\n" + rows.replace("np.float64(", "").replace(")", ""),
        form,
        params="Model Size",
        flops="FLOP",
        hold_out='"Model Size" > 1e9 AND tokens > 5e10',
        bootstrap=2,
    )

    assert found["loss"] == loss
    assert found["exponents"] == pytest.approx(exponents)
    assert found["n"] == 35
    assert found["held_out"][0]["relative_error"] == pytest.approx(0, abs=1e-6)
    assert list(found["coefficients"]) == [*forms.load(form).linear, *forms.load(form).curved]


def test_a_sigmoid_reads_any_column_as_its_abscissa(tmp_path):
    xs = np.linspace(-2, 2, 9)
    rows = "".join(f"{x},{0.2 + 0.5 / (1 + np.exp(3 * x))}\n" for x in xs)

    found = fit_table(tmp_path, "bpb,loss\n" + rows, "sigmoid", x="bpb")

    assert (found["loss"], found["exponents"]) == ("mse", {})
    truth = {"low": 0.2, "high": 0.7, "slope": -3, "center": 0}
    assert found["coefficients"] == pytest.approx(truth, abs=1e-6)


def test_one_size_only_is_refused_with_what_is_needed(tmp_path):
    rows = "".join(f"1e6,{10**i},{4 - 0.1 * i}\n" for i in range(6, 12))

    with pytest.raises(ConfigError, match=r"params is 1e\+06 at every point.*vary it"):
        fit_table(tmp_path, "params,tokens,loss\n" + rows, "hoffmann")
