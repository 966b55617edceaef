"""The benchmark of evaluation: what differs is not compared, and speeds follow from seconds."""

import pytest

from benchmarks.evaluate import Contest, agree, told
from pipeline.evaluate.task import Example, LogLikelihood


class ThreeQuestions:
    """Two short questions and one of nine ids."""

    def examples(self):
        return [Example(number=number, content=None) for number in range(3)]

    def requests(self, example):
        return [LogLikelihood(context=(1,) * (1 + 3 * example.number), target=(2, 3, 4))]


@pytest.fixture
def contest():
    return Contest("three", ThreeQuestions(), [], "none", {"accuracy": "acc"}, goal=2.0)


def test_figures_that_differ_are_not_compared(contest):
    agree(contest, {"accuracy": 0.5}, {"acc": 0.50004})

    with pytest.raises(RuntimeError, match="three: accuracy is 0.5 here and 0.51 by lm-eval"):
        agree(contest, {"accuracy": 0.5}, {"acc": 0.51})


@pytest.mark.parametrize(
    ("seconds", "verdict"), [((3.0, 4.0), "2.50 x, goal 2.0: met"), ((1.0, 1.0), "MISSED")]
)
def test_speeds_follow_from_the_seconds_of_rounds(contest, capsys, seconds, verdict):
    row = told(contest, {"ours": (1.0, 2.0), "lm-eval": seconds}, batch_size=4)

    assert contest.longest == row["longest"] == 9
    assert row["examples_per_second"]["ours"] == 2.0
    assert verdict in capsys.readouterr().out
