"""Predictions against labels: which figures, of whom, with what error."""

import math

import pytest

from pipeline.errors import FormatError
from pipeline.finetune.dataset import Choice, Example, Pair, Span, Text
from pipeline.finetune.datasets import cola, mnli, mrpc, race, squad, stsb
from pipeline.finetune.measure import figures, guessed, with_mean
from pipeline.formats.results import Result


def question(number: int, passage: str, label: int = 0) -> Choice:
    return Choice(
        context="Ann rows.",
        question="Who?",
        answers=("Ann", "Bob"),
        label=label,
        id=str(number),
        cluster=passage,
        group=passage[:4],
    )


def test_races_are_told_by_school_and_their_errors_by_passage():
    questions = [
        question(number, f"{school}{number // 3}") for number in range(12) for school in ("high", "midd")
    ]
    predictions = [int(place % 4 == 0) for place in range(len(questions))]

    told = figures(race.Config().build(), questions, predictions)

    assert [*told] == ["accuracy", "accuracy_high", "accuracy_midd"]
    assert told["accuracy"].value == 0.75 and told["accuracy_high"].value == 0.5
    assert told["accuracy_midd"].value == 1.0
    whole = [question(number, f"high{number // 3}") for number in range(12)]
    by_passage = figures(race.Config().build(), whole, [int(number < 6) for number in range(12)])["accuracy"]
    alone = [question(number, "") for number in range(12)]
    by_question = figures(race.Config().build(), alone, [int(number < 6) for number in range(12)])["accuracy"]
    assert by_passage.value == by_question.value == 0.5 and by_passage.stderr > by_question.stderr


def test_a_span_is_judged_by_the_nearest_of_its_references():
    context = "Ann rows; Bob (her son) sleeps."
    example = Span(context=context, question="Who?", answers=((10, "Bob"), (10, "Bob (her son)")), id="a")

    told = figures(squad.Config().build(), [example, example], ["the Bob", "her son sleeps"])

    assert [*told] == ["f1", "exact_match"]
    assert told["exact_match"].value == 0.5
    assert told["f1"].value == pytest.approx((1 + 2 * 2 / 6) / 2)


def test_acceptability_is_judged_by_matthews_first():
    texts = [Text(text="x", label=number % 2) for number in range(8)]
    predictions = [1, 1, 0, 1, 0, 0, 0, 1]

    told = figures(cola.Config().build(), texts, predictions)

    assert [*told] == ["matthews", "accuracy"] and told["accuracy"].value == 0.75
    assert told["matthews"].value == pytest.approx(0.5)  # (3 * 3 - 1 * 1) / 16


def test_scores_are_judged_by_both_correlations():
    texts = [Text(text="x", label=float(number)) for number in range(5)]

    told = figures(stsb.Config().build(), texts, [0.1, 0.2, 0.4, 0.8, 1.6])

    assert told["spearman"].value == pytest.approx(1) and 0.8 < told["pearson"].value < 1


def test_secret_labels_judge_nobody():
    secret: list[Example] = [Text(text="x", label=None, place="test.tsv:2")]

    with pytest.raises(FormatError, match=r"test.tsv:2: no label, so nothing to judge by"):
        figures(mnli.Config().build(), secret, [0])


def test_there_must_be_one_prediction_for_each_example():
    with pytest.raises(ValueError, match="2 predictions for 1 examples"):
        figures(mnli.Config().build(), [Text(text="x", label=0)], [0, 1])


def test_guessing_scores_what_the_commonest_class_and_an_answer_at_random_do():
    texts = [Text(text="x", label=int(number < 3)) for number in range(4)]
    pairs = [Pair(first="x", second="y", label=int(number < 3)) for number in range(4)]
    questions = [question(number, "") for number in range(3)]

    assert guessed(cola.Config().build(), texts) == {"matthews": 0.0, "accuracy": 0.75}
    assert guessed(mrpc.Config().build(), pairs) == pytest.approx({"accuracy": 0.75, "f1": 1.5 / 1.75})
    assert guessed(stsb.Config().build(), [Text(text="x", label=2.5)]) == {"pearson": 0.0, "spearman": 0.0}
    assert guessed(race.Config().build(), questions) == {"accuracy": 0.5}
    assert guessed(cola.Config().build(), [Text(text="x")]) == {}


def test_mnlis_sets_have_a_mean_as_in_table_5():
    def result(split: str, value: float, metric: str = "accuracy") -> Result:
        return Result(
            task="finetune/mnli", metric=metric, value=value, stderr=0.03, num_examples=100, subset=split,
            dtype="fp32", data_sha256="", protocol="",
        )  # fmt: skip

    matched, other = result("validation", 0.8), result("validation_mismatched", 0.7)
    *_, found = with_mean([matched, result("validation", 1.0, "loss"), other])

    assert (found.metric, found.subset, found.num_examples) == ("accuracy_mean", "validation", 200)
    assert found.value == pytest.approx(0.75) and found.stderr == pytest.approx(0.03 / math.sqrt(2))
    assert found.paper["LSTM"] == 0.737
    assert with_mean([matched]) == [matched]
