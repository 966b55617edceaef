"""What figures of fine-tunings say beside each other."""

import math
from dataclasses import replace

import pytest

from pipeline.formats import glue
from pipeline.formats.summary import Figure, Summary
from pipeline.study.compared import Comparison, compared
from pipeline.study.finetuning import FineTuning
from pipeline.study.trials import Trial


def job(trial: str, dataset: str = "cola", metric: str = "matthews") -> FineTuning:
    return FineTuning(
        name=f"{trial}-{dataset}",
        trial=trial,
        dataset=dataset,
        metric=metric,
        checkpoint="x",
        training=None,
        seeds=(0, 1),
        steps=1,
        tokens=1,
        flops=None,
        finetune={},
    )


def summary(*values: float, metric: str = "matthews", stderr: float | None = 0.03, **more) -> Summary:
    mean = sum(values) / len(values)
    sd = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else None
    figure = Figure(
        split="validation",
        metric=metric,
        values={str(seed): value for seed, value in enumerate(values)},
        median=sorted(values)[len(values) // 2],
        mean=mean,
        sd=sd,
        stderr=stderr,
        num_examples=100,
        chance=more.get("chance", 0.0),
        paper=more.get("paper", {}),
    )
    return Summary(task="finetune/cola", config_hash="", inputs={}, figures=(figure,))


def both(first: Summary, second: Summary) -> Comparison:
    trials = [Trial(name=name, checkpoint="x", paper="no pre-training") for name in ("a", "b")]
    return compared([job("a"), job("b")], {"a-cola": first, "b-cola": second}, trials)


def test_the_error_of_a_figure_has_the_scatter_of_seeds_and_the_examples_in_it():
    cell = both(summary(0.3, 0.4, 0.5), summary(0.1)).main("a", "cola")

    assert cell.error == pytest.approx(math.hypot(0.03, 0.1 / math.sqrt(3)))
    assert (cell.median, cell.low, cell.high) == (0.4, 0.3, 0.5)


def test_a_difference_has_the_errors_of_both():
    found = both(summary(0.4, 0.4), summary(0.1, 0.1, stderr=0.04))

    cell = found.main("b", "cola")
    assert cell.difference == pytest.approx(-0.3)
    assert cell.difference_error == pytest.approx(0.05)
    assert "b beside a: worse on cola (matthews -0.300 ± 0.050)." in found.summary


def test_what_is_within_two_errors_of_chance_is_said_to_be_at_chance():
    found = both(summary(0.3, 0.3), summary(0.059, 0.059))

    assert found.main("a", "cola").told == "above chance"
    assert found.main("b", "cola").told == "at chance"
    assert "At chance: b on cola." in found.summary
    assert "at chance" in found.table()[2]
    assert both(summary(0.3), summary(-0.2)).main("b", "cola").told == "below chance"


def test_differences_that_cannot_be_told_are_said_to_be_none():
    assert "not told apart on cola" in both(summary(0.30), summary(0.34)).summary[0]


def test_the_paper_stands_beside_the_trial_that_names_its_row():
    published = {"GPT-1": 0.454, "no pre-training": 0.189}

    assert both(summary(0.3), summary(0.1, paper=published)).main("b", "cola").paper == 0.189


def test_one_seed_without_an_error_says_nothing_of_chance():
    cell = both(summary(0.3, stderr=None), summary(0.1)).main("a", "cola")

    assert (cell.error, cell.told) == (None, None)
    assert "," in both(summary(0.3, stderr=None), summary(0.1)).csv()


def test_a_network_that_always_says_the_same_is_at_chance_without_an_error():
    assert both(summary(0.0, stderr=None), summary(0.1)).main("a", "cola").told == "at chance"


def of_glue(*tasks: str) -> Comparison:
    """Return a comparison of two trials that score 0.6 and 0.5 everywhere, on these tasks of GLUE."""
    jobs, summaries = [], {}
    for trial, value in (("a", 0.6), ("b", 0.5)):
        for task in tasks:
            found = [summary(value, metric=m).figures[0] for _, m in glue.TASKS[task]]
            figures = tuple(
                replace(figure, split=split)
                for figure, (split, _) in zip(found, glue.TASKS[task], strict=True)
            )
            jobs.append(job(trial, task, glue.TASKS[task][0][1]))
            summaries[f"{trial}-{task}"] = replace(summary(value), figures=figures)
    return compared(jobs, summaries, [Trial(name=name, checkpoint="x") for name in ("a", "b")])


def test_glues_average_stands_behind_its_tasks_and_says_how_it_is_computed():
    found = of_glue(*glue.TASKS)

    assert [average.value for average in found.averages["b"]] == [pytest.approx(0.5)] * 2
    assert found.table()[0].endswith("GLUE average        average of Table 5")
    assert found.table()[2].endswith("0.500 ± 0.011             0.500 ± 0.011")
    assert any("72.8 is by GLUE's server" in said for said in found.summary)
    assert found.as_json()["averages"]["a"][0]["missing"] == ()


def test_an_average_that_lacks_tasks_is_none_and_names_them():
    found = of_glue(*(task for task in glue.TASKS if task not in ("mnli", "qqp")))

    assert {average.value for each in found.averages.values() for average in each} == {None}
    assert "No GLUE average: qqp, mnli missing." in found.summary
    assert "GLUE" not in found.table()[0]
