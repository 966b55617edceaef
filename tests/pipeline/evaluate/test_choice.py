"""Which choice counts as meant."""

from pipeline.evaluate.choice import hit


def test_the_choice_that_costs_least_is_meant():
    assert [hit([2.0, 1.0, 3.0], answer) for answer in range(3)] == [0, 1, 0]


def test_choices_that_cost_as_little_share_the_hit():
    assert [hit([2.0, 1.0, 1.0], answer) for answer in range(3)] == [0, 0.5, 0.5]
    assert hit([5.0] * 10, answer=7) == 0.1
