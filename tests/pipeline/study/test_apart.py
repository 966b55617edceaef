"""Which of two laws points speak for, and whether they can tell."""

import numpy as np
import pytest

from pipeline.study.apart import tell_apart
from pipeline.study.form import load
from pipeline.study.table import Points

LAWS = {"log-linear": lambda n: 5 - 0.45 * np.log10(n), "power": lambda n: 40 * n**-0.25}


def told(law: str, sizes, noise: float, seed: int = 0):
    scatter = noise * np.random.default_rng(seed).standard_normal(len(sizes))
    points = Points(inputs=sizes[:, None], values=LAWS[law](sizes) + scatter, weights=None, names=("",) * 7)
    return tell_apart(load("log-linear"), load("power"), points)


@pytest.mark.parametrize("law", LAWS)
def test_a_law_is_not_mistaken_for_the_other_when_the_data_can_tell(law):
    found = told(law, np.geomspace(1e4, 1e7, 7), 0.005)

    assert found.told
    assert found.better == law
    assert str(found).startswith(f"{law} rather than ")
    assert "true, fewer than 1 % of such studies would favour" in str(found), "nothing is certain"


@pytest.mark.parametrize("law", LAWS)
def test_cannot_tell_is_said_when_the_data_cannot(law):
    found = told(law, np.geomspace(1e5, 1e6, 7), 0.3)

    assert not found.told
    assert str(found).startswith("cannot tell: if ")


def test_a_law_whose_offset_ended_at_zero_is_told_apart_too():
    sizes = np.geomspace(1e4, 1e6, 9)
    values = 3 - 0.5 * np.log10(sizes) + 0.05 * np.random.default_rng(1).standard_normal(9)
    points = Points(inputs=sizes[:, None], values=values, weights=None, names=("",) * 9)

    found = tell_apart(load("log-linear"), load("offset-power"), points)

    assert found.better == "log-linear", (
        "some values are near zero, where a line goes on and a power does not"
    )
