"""The fitter against closed forms, planted laws, published coefficients and bad tables."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.study import form as forms
from pipeline.study.fit import Fit, fit_points
from pipeline.study.intervals import band
from pipeline.study.problem import Problem
from pipeline.study.solve import descend, solve
from pipeline.study.table import Points

SIZES = np.array([2e4, 5e4, 1.2e5, 3e5, 8e5, 2e6, 5e6])


def points(x, values, weights=None) -> Points:
    x = np.asarray(x, dtype=float)
    names = tuple(f"run-{i}" for i in range(len(x)))
    return Points(inputs=x[:, None], values=np.asarray(values, dtype=float), weights=weights, names=names)


def fit(name: str, x, values, **options) -> Fit:
    return fit_points(forms.load(name), points(x, values), **options)


def test_the_line_and_its_t_interval_are_those_of_the_textbook():
    values = 3.1 - 0.4 * np.log10(SIZES) + np.array([1, -2, 1, 2, -1, -2, 1]) * 0.01
    expected = stats.linregress(np.log10(SIZES), values)
    t = stats.t.ppf(0.975, 5)

    found = fit("log-linear", SIZES, values)

    assert found.solution.coefficients["b"] == pytest.approx(expected.slope, rel=1e-12)
    assert found.solution.coefficients["a"] == pytest.approx(expected.intercept, rel=1e-12)
    assert found.bounds["b"] == pytest.approx(
        (expected.slope - t * expected.stderr, expected.slope + t * expected.stderr), rel=1e-10
    )
    assert found.bounds["a"][1] - expected.intercept == pytest.approx(
        t * expected.intercept_stderr, rel=1e-10
    )
    assert found.interval_method == "Student's t, 5 degrees of freedom"


def test_a_power_law_is_a_line_in_logarithms():
    values = 9 * SIZES**-0.12 * np.exp(np.array([1, -2, 1, 2, -1, -2, 1]) * 0.004)
    expected = stats.linregress(np.log(SIZES), np.log(values))
    t = stats.t.ppf(0.975, 5)

    found = fit("power", SIZES, values)

    assert found.solution.coefficients["alpha"] == pytest.approx(-expected.slope, rel=1e-9)
    assert found.solution.coefficients["A"] == pytest.approx(np.exp(expected.intercept), rel=1e-9)
    assert found.bounds["alpha"] == pytest.approx(
        (-expected.slope - t * expected.stderr, -expected.slope + t * expected.stderr), rel=1e-9
    )


def test_the_interval_of_a_new_point_is_that_of_the_textbook():
    x = np.log10(SIZES)
    values = 3.1 - 0.4 * x + np.array([1, -2, 1, 2, -1, -2, 1]) * 0.01
    found = fit("log-linear", SIZES, values)
    s = np.sqrt(found.rss / 5)
    spread = np.sqrt(1 + 1 / 7 + (7 - x.mean()) ** 2 / np.sum((x - x.mean()) ** 2))

    low, high = band(found.solution, np.array([[1e7]]), new_point=True)

    assert high[0] - low[0] == pytest.approx(2 * stats.t.ppf(0.975, 5) * s * spread, rel=1e-9)


def test_weights_are_those_of_weighted_least_squares():
    x, weights = np.log10(SIZES), np.array([1, 1, 2, 3, 5, 8, 13.0])
    values = 3.1 - 0.4 * x + np.array([1, -2, 1, 2, -1, -2, 1]) * 0.01
    expected = np.polyfit(x, values, 1, w=np.sqrt(weights))

    found = fit_points(forms.load("log-linear"), points(SIZES, values, weights))

    assert found.solution.coefficients["b"] == pytest.approx(expected[0], rel=1e-10)


@settings(max_examples=40, deadline=None)
@example(offset=0.203125, scale=19.0, alpha=0.625, loss="mse")  # once lost its offset
@given(
    offset=st.floats(0.2, 3),
    scale=st.floats(2, 60),
    alpha=st.floats(0.12, 0.8),
    loss=st.sampled_from(forms.LOSSES),
)
def test_a_planted_law_is_recovered_under_every_loss(offset, scale, alpha, loss):
    values = offset + scale * (SIZES / 2e4) ** -alpha

    found = fit("offset-power", SIZES, values, loss=loss, draws=1)

    got = found.solution.coefficients
    assert found.solution.converged
    assert got["E"] == pytest.approx(offset, rel=1e-3)
    assert got["alpha"] == pytest.approx(alpha, rel=1e-3)


AT = {
    "log-linear": [7.0, -0.3],
    "power": [1.0, 0.13],
    "offset-power": [0.5, 1.0, 0.13],
    "hoffmann": [0.5, 1.0, 1.5, 0.13, 0.21],
    "overtraining": [0.5, 1.0, 1.5, 0.07],
    "sigmoid": [4.0, 6.0, 1.7, 5.2],
}


@pytest.mark.parametrize("name", forms.available())
@pytest.mark.parametrize("loss", forms.LOSSES)
def test_gradients_are_those_of_finite_differences(name, loss):
    form, p = forms.load(name), np.array(AT[name])
    columns = [SIZES if form.positive_inputs else np.log10(SIZES), 40 * SIZES[::-1], SIZES**1.5]
    inputs = np.column_stack(columns[: len(form.inputs)])
    problem = Problem.of(form, loss, inputs, 5 + SIZES**-0.1)

    for i, slope in enumerate(problem.curvature(p)[0]):
        h = np.zeros(len(p))
        h[i] = 1e-6
        numeric = (problem.objective(p + h) - problem.objective(p - h)) / 2e-6
        assert slope == pytest.approx(numeric, rel=1e-5, abs=1e-10)


def test_an_offset_that_is_not_there_ends_at_zero_and_is_told():
    found = fit("offset-power", SIZES, 6 * SIZES**-0.05 * (1 + 0.002 * (np.log10(SIZES) - 5) ** 2 * -1))

    assert found.solution.coefficients["E"] == 0
    assert any("E ended at zero" in warning for warning in found.warnings)
    assert found.solution.converged


def test_an_early_stop_is_not_called_converged():
    values = 1.7 + 400 * SIZES**-0.34
    problem = Problem.of(forms.load("offset-power"), "huber-log", SIZES[:, None], values)
    near = solve(problem).p + np.array([0.01, 0.02, 0.002])

    assert problem.remainder(near) > 1e-4
    assert descend(problem, near).converged


def test_huber_hardly_moves_for_an_outlier_where_squares_do():
    x = np.geomspace(1e4, 1e7, 15)
    values = 1.5 + 30 * x**-0.3 * np.exp(0.001 * np.sin(np.arange(15)))
    values[4] *= 1.3

    robust = fit("offset-power", x, values, loss="huber-log", draws=1).solution.coefficients["alpha"]
    squares = fit("offset-power", x, values, loss="mse-log").solution.coefficients["alpha"]

    assert abs(robust - 0.3) < 0.02 < abs(squares - 0.3)


def test_seeds_of_one_size_do_not_count_as_sizes():
    x = np.repeat(SIZES[:4], 5)
    bent = np.repeat([2.0, 1.6, 1.5, 1.1], 5)

    found = fit("log-linear", x, bent)

    slope, low = found.solution.coefficients["b"], found.bounds["b"][0]
    means = stats.linregress(np.log10(SIZES[:4]), [2.0, 1.6, 1.5, 1.1])
    assert slope - low == pytest.approx(stats.t.ppf(0.975, 2) * means.stderr, rel=1e-9)


@pytest.mark.parametrize("name", ["log-linear", "power"])
def test_95_percent_intervals_hold_the_truth_95_percent_of_the_time(name):
    generator = np.random.default_rng(0)
    truth = {"log-linear": 3 - 0.3 * np.log10(SIZES), "power": 8 * SIZES**-0.1}[name]
    watched, value = {"log-linear": ("b", -0.3), "power": ("alpha", 0.1)}[name]
    hits = 0
    for _ in range(1000):
        noise = 0.02 * generator.standard_normal(7)
        found = fit(name, SIZES, truth + noise if name == "log-linear" else truth * np.exp(noise))
        low, high = found.bounds[watched]
        hits += low <= value <= high
    assert 930 <= hits <= 970


def test_profile_intervals_of_a_curved_law_hold_the_truth():
    generator, x, hits = np.random.default_rng(1), np.geomspace(1e4, 1e7, 14), 0
    for _ in range(60):
        values = (1.5 + 30 * x**-0.3) * np.exp(0.01 * generator.standard_normal(14))
        low, high = fit("offset-power", x, values, loss="mse-log").bounds["alpha"]
        hits += (low is None or low <= 0.3) and (high is None or high >= 0.3)
    assert 52 <= hits <= 60


@pytest.mark.parametrize("count", [7, 14])
def test_bootstrap_intervals_are_of_the_size_of_the_others_and_repeat_with_the_seed(count):
    x = np.geomspace(2e4, 5e6, count)
    values = 9 * x**-0.12 * np.exp(0.01 * np.random.default_rng(3).standard_normal(count))
    exact = fit("power", x, values).bounds["alpha"]

    first = fit("power", x, values, draws=400, seed=5)
    again = fit("power", x, values, draws=400, seed=5)

    low, high = first.bounds["alpha"]
    assert first.bounds == again.bounds
    assert 0.5 < (high - low) / (exact[1] - exact[0]) < 1.5
    assert ("residuals" in first.interval_method) == (count < 10)


def test_as_many_coefficients_as_points_leave_no_interval():
    found = fit("offset-power", SIZES[:3], [3, 2.5, 2.3])

    assert set(found.bounds.values()) == {(None, None)}
    assert found.interval_method.startswith("none")


def test_the_summary_says_what_the_file_says():
    lines = str(fit("log-linear", SIZES, 3 - 0.3 * np.log10(SIZES))).splitlines()

    assert lines[0] == "log-linear: a + b*log10(x), 7 points, loss mse"
    assert lines[2].split()[:2] == ["b", "-0.3"]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("metric", "slope", "r2", "error"),
    [
        ("lambada_acc", 15.8, 0.975, 2.9),
        ("coqa_f1", 26, 0.955, 5.7),
        ("ptb_ppl", None, 0.949, -6.8),
        ("nq_acc", 2.9, 0.971, -0.7),
    ],
)
def test_the_gpt2_papers_own_series_give_the_slopes_of_the_notes(real_data, metric, slope, r2, error):
    folder = real_data / "scaling" / "gpt2_paper"
    rows = [line.split(",") for line in (folder / "gpt2_paper_by_size.csv").read_text().splitlines()]
    values = np.array([float(cell) for cell in next(row for row in rows if row[0] == metric)[2:6]])
    sizes = np.array([124439808, 354823168, 774030080, 1557611200])

    whole = fit("log-linear", sizes, values)
    held = fit_points(forms.load("log-linear"), points(sizes, values), held=sizes == sizes.max())

    if slope is not None:
        assert whole.solution.coefficients["b"] == pytest.approx(slope, abs=0.5)
    assert 1 - whole.rss / np.sum((values - values.mean()) ** 2) == pytest.approx(r2, abs=0.002)
    assert held.held_out[0].predicted - values[-1] == pytest.approx(error, abs=0.06)
