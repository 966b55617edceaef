"""`loglinear fit` on files: the contract of its options and output, published tables, and bad ones."""

import json
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.study.fit import FitRequest, run_fit


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "points.csv"
    path.write_text(text)
    return path


def fit_table(path: Path, form: str = "log-linear", **options) -> dict:
    request = FitRequest(table=path, form=form, **{"value": "loss", **options})
    run_fit(request, path.with_suffix(".json"))
    return json.loads(path.with_suffix(".json").read_text())


def test_the_file_has_the_keys_of_the_contract(tmp_path):
    rows = "".join(f"m{i},{n},{4 - 0.3 * i}\n" for i, n in enumerate([1e6, 1e7, 1e8, 1e9]))
    found = fit_table(table(tmp_path, "name,params,loss\n" + rows), hold_out="largest")

    keys = "form loss coefficients objective rss n intervals interval_method exponents held_out converged"
    assert list(found) == [*keys.split(), "warnings"]
    assert found["n"] == 3
    assert found["coefficients"]["b"] == pytest.approx(-0.3)
    held_out = found["held_out"][0]
    assert held_out["name"] == "m3"
    assert held_out["predicted"] == pytest.approx(3.1)
    assert held_out["relative_error"] == pytest.approx(0, abs=1e-12)


def test_the_highest_are_dropped_from_the_whole_table_before_the_condition(tmp_path):
    rows = "params,loss,role\n1e6,9,a\n1e7,5,b\n1e8,4,b\n1e9,3,b\n1e10,8,a\n"
    path = table(tmp_path, rows)

    found = fit_table(path, drop_highest=2, where="role = 'b'")
    assert found["n"] == 3
    assert fit_table(path, drop_highest=3, where="role = 'b'")["n"] == 2


def test_a_missing_third_of_c_6nd_is_computed_and_may_be_asked_about(tmp_path):
    path = table(tmp_path, '"Model Size",tokens,loss\n1e6,1e7,4\n1e7,1e8,3\n1e8,1e9,2\n1e9,1e9,7\n')

    found = fit_table(path, params="Model Size", x="flops", where="flops < 6e17")

    assert found["coefficients"]["b"] == pytest.approx(-0.5)


def test_rows_are_held_out_by_a_condition(tmp_path):
    rows = "params,loss,role\n1e6,4,train\n1e7,3,train\n1e8,2,train\n1e9,1.5,test\n"
    found = fit_table(table(tmp_path, rows), hold_out="role = 'test'")

    assert [one["name"] for one in found["held_out"]] == ["row 4"]
    assert found["held_out"][0]["relative_error"] == pytest.approx((1 - 1.5) / 1.5)


GOOD = "params,loss\n1e6,4\n1e7,3\n1e8,2\n"
FAULTS = {
    "no such column": (GOOD, {"value": "bpb"}, r"points.csv:1: no column 'bpb'.*there are params, loss"),
    "no abscissa": ("size,loss\n1,2\n", {}, r"no column 'params'.*--x"),
    "not a number": (GOOD + "1e9,two\n", {}, r"row 4, column 'loss': 'two' is not a number; correct it"),
    "empty cell": (GOOD + "1e9,\n", {}, r"row 4, column 'loss': the cell is empty"),
    "not finite": (GOOD + "1e9,nan\n", {}, r"row 4, column 'loss': nan is not a finite number"),
    "size of zero": (GOOD + "0,2\n", {}, r"row 4, column 'params': 0\S* must be above zero"),
    "negative for a log": (
        GOOD + "1e9,-2\n",
        {"form": "power"},
        r"row 4, column 'loss': -2\S* must be above zero",
    ),
    "too few": (
        "params,loss\n1e6,4\n1e6,3\n",
        {},
        r"2 points at 1 different sizes cannot give the 2 coefficients",
    ),
    "nothing left": (GOOD, {"where": "params > 1e12"}, r"--where 'params > 1e12': no row is left"),
    "no condition": (
        GOOD,
        {"where": "size > 3"},
        r"--where 'size > 3': not a condition.*columns: params, loss",
    ),
    "nothing held out": (GOOD, {"hold_out": "params > 1e12"}, r"--hold-out 'params > 1e12': no row matches"),
    "all dropped": (GOOD, {"drop_highest": 3}, r"--drop-highest 3: the table has only 3 values"),
    "two of a name": ("params,loss,Loss\n1,2,3\n", {}, r"column names given twice: Loss, loss"),
    "ragged": ("params,loss\n1,2\n3,4,5,6\n", {}, r"not a readable CSV: line 3: not 2 cells"),
    "empty": ("", {}, r"points.csv: empty"),
    "no rows": ("params,loss\n", {}, r"0 points at 0 different sizes"),
    "no such loss": (GOOD, {"loss": "mae"}, r"--loss mae: no such loss; there are mse, mse-log, huber-log"),
    "no such form": (
        GOOD,
        {"form": "cubic"},
        r"--form cubic: no such form; there are hoffmann, log-linear, offset-power, overtraining",
    ),
    "one size only": (
        "params,tokens,loss\n" + "".join(f"1e6,{10**i},{4 - 0.1 * i}\n" for i in range(6, 12)),
        {"form": "hoffmann"},
        r"params is 1e\+06 at every point, so hoffmann cannot say what it does; vary it",
    ),
    "duplicates": (GOOD + "1e7,3\n", {}, r"rows 2, 4 are duplicates, the same in every cell; remove all but"),
    "a column that is not there": (
        "tokens,flops,loss\n1e6,1e15,3\n",
        {"params": "Model Size"},
        r"no column 'Model Size'; say which column it is with",
    ),
    "files": (GOOD, {"where": "(select count(*) from read_text('/etc/passwd')) > 0"}, r"not a condition"),
}


@pytest.mark.parametrize(("text", "options", "message"), FAULTS.values(), ids=FAULTS)
def test_a_bad_table_is_refused_with_place_value_and_remedy(tmp_path, text, options, message):
    with pytest.raises(ConfigError, match=message):
        fit_table(table(tmp_path, text), **options)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none.csv: cannot be read \(No such file"):
        fit_table(tmp_path / "none.csv")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("column", "scale", "alpha", "offset"),
    [
        ("pile_test_xent_paper_mup_card", 6.5e22, 0.0733, 0.501),
        ("pile_test_xent_hf_13b_card", 6.1e24, 0.058, 0.196),
    ],
)
def test_the_published_law_of_cerebras_gpt_is_found(real_data, tmp_path, column, scale, alpha, offset):
    path = tmp_path / "cerebras.csv"
    path.write_bytes((real_data / "scaling" / "cerebras_gpt" / "zero_shot_and_pile_loss.csv").read_bytes())

    found = fit_table(
        path, "offset-power", value=column, x="train_flops", where="family = 'Cerebras'", loss="mse"
    )["coefficients"]

    assert found["alpha"] == pytest.approx(alpha, abs=5e-4)
    assert found["E"] == pytest.approx(offset, abs=1e-3)
    assert found["A"] ** (1 / found["alpha"]) == pytest.approx(scale, rel=0.01)


@pytest.mark.real_data
def test_the_five_highest_of_the_chinchilla_table_leave_240_rows(real_data, tmp_path):
    path = tmp_path / "chinchilla.csv"
    path.write_bytes((real_data / "scaling" / "chinchilla_epoch" / "svg_extracted_data.csv").read_bytes())
    names = {"params": "Model Size", "flops": "Training FLOP"}

    assert fit_table(path, "power", drop_highest=5, x="tokens", **names)["n"] == 240
    assert fit_table(path, "power", drop_highest=5, where="flops < 1e21", **names)["n"] == 217
