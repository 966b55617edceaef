"""Hours on named hardware: by a GPU's peak, and by speeds that were measured."""

import pytest

from pipeline.config import validate
from pipeline.errors import ConfigError
from pipeline.study.price import Hardware, interpolated
from pipeline.trainer.gpus import GPUS

MEASURED = {"name": "a desk", "speeds": [[1e6, 20_000], [1e8, 400]], "overhead_seconds": 5}


def hardware(**values) -> Hardware:
    return validate(Hardware, values, "hardware")


def test_a_gpu_reaches_its_share_of_the_peak_of_the_precision():
    found = hardware(name="one", gpu="H100", mfu=0.4)

    assert found.flops_per_second(1e9, "bf16", 1) == pytest.approx(0.4 * GPUS["H100"].bf16)
    assert found.seconds(8e14 * GPUS["H100"].bf16 / 2e15, 1e9, "bf16", 1) == pytest.approx(1.0)


def test_between_measured_sizes_speed_follows_a_line_in_logarithms():
    speeds = [(1e6, 20_000), (1e8, 400)]

    assert interpolated(speeds, 1e6) == pytest.approx(2e10)
    assert interpolated(speeds, 1e7) == pytest.approx((2e10 * 4e10) ** 0.5)
    assert interpolated(speeds, 1e4) == pytest.approx(2e10), "beyond them it is the nearest one's"
    assert interpolated(speeds, 1e9) == pytest.approx(4e10)


def test_a_run_is_what_it_trains_and_what_every_run_costs():
    found = hardware(**MEASURED)

    assert found.seconds(1e6 * 40_000, 1e6, "fp32", 1) == pytest.approx(2 + 5)
    assert found.seconds(1e6 * 40_000, 1e6, "fp32", 2) == pytest.approx(2 / 1.7 + 5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gpu": "H100"}, "give either gpu and mfu, or speeds"),
        ({"gpu": "H100", "mfu": 0.4, "speeds": [[1, 1]]}, "give either gpu and mfu, or speeds"),
        ({"gpu": "h100", "mfu": 0.4}, r"no such GPU \(did you mean H100\?\)"),
        ({"speeds": [[0, 1]]}, "pairs of positive numbers"),
    ],
)
def test_hardware_without_a_speed_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        hardware(name="x", **values)
