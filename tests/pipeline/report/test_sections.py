"""Sections whose arithmetic is their own: histograms, curves, laws, the choice of what is shown."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from pipeline.report import corpus, curves, examples, fits, funnel, laws
from pipeline.report.ladder import ladder_of, law_figure
from pipeline.report.sources import find
from pipeline.report.studied import points_of


def test_scores_fall_into_ranges_and_ranges_stay_as_they_are() -> None:
    assert corpus.histogram({"0": 5, "1": 2, "4": 1, "12": 3})["0-1"] == 7
    assert corpus.histogram({"0": 5, "1": 2, "4": 1, "12": 3})["11-30"] == 3
    assert list(corpus.histogram({"11+": 9, "0-1": 1, "2": 4})) == ["0-1", "2", "11+"]


def test_laws_are_evaluated_as_their_formulas_say() -> None:
    assert laws.value("log-linear", {"a": 3.0, "b": -0.25}, 1e4) == pytest.approx(2.0)
    assert laws.value("power", {"A": 8.0, "alpha": 0.5}, 16.0) == pytest.approx(2.0)
    steep = {"low": 0.25, "high": 0.75, "slope": -4000.0, "center": 2.0}
    assert [laws.value("sigmoid", steep, x) for x in (1.0, 2.0, 3.0)] == pytest.approx([0.75, 0.5, 0.25])
    assert laws.value("offset-power", {"E": 1.0, "A": 8.0, "alpha": 0.5}, 16.0) == pytest.approx(3.0)
    sigmoid = {"low": 0.25, "high": 0.75, "slope": -2.0, "center": 3.0}
    assert laws.value("sigmoid", sigmoid, 3.0) == pytest.approx(0.5)
    assert laws.value("hoffmann", {"E": 0.0}, 1.0) is None


def test_the_drawn_law_passes_through_the_prediction_of_the_study(whole: Path) -> None:
    choice = find(whole).study.choice  # type: ignore[union-attr]
    found = laws.value(choice["chosen"], choice["fit"]["coefficients"], choice["prediction"]["x"])

    assert found == pytest.approx(choice["prediction"]["value"], rel=1e-9)


def test_the_largest_size_is_kept_apart_from_the_fitted_ones(whole: Path) -> None:
    ladder = ladder_of(find(whole).study)  # type: ignore[arg-type]

    assert ladder is not None
    assert len(ladder.below) == 9
    assert len(ladder.largest) == 1
    assert min(x for x, *_ in ladder.largest) > max(x for x, *_ in ladder.below)


def test_the_interval_is_drawn_where_the_study_wrote_its_curve(whole: Path) -> None:
    sources = find(whole)
    assert sources.study is not None
    ladder = ladder_of(sources.study)
    assert ladder is not None
    curve = {"x": [2e4, 1e5, 1e6], "low": [2.5, 2.3, 2.0], "high": [2.6, 2.4, 2.1]}
    choice = sources.study.choice

    drawn = law_figure(ladder, {**choice, "curve": curve})

    assert "95 % interval of a new run" in drawn.wide
    assert "95 % interval of a new run,,20000.0,,2.5,2.6" in drawn.data
    assert "95 % interval of a new run" not in law_figure(ladder, {**choice, "curve": None}).wide
    assert "band" in drawn.caption


def test_a_curve_is_thinned_by_means_and_ends_where_the_run_ended(whole: Path) -> None:
    trained = find(whole).runs[0]
    curve = curves.curve_of(trained)

    assert curve.tokens[-1] == trained.config["train_tokens"]
    assert len(curve.tokens) <= curves.MOST_POINTS
    assert all(math.isfinite(loss) for loss in curve.losses)


def test_runs_stand_from_small_to_large(whole: Path) -> None:
    sizes = [trained.params_non_embedding or 0 for trained in find(whole).runs]

    assert sizes == sorted(sizes)
    assert len(sizes) == 10


def test_the_order_of_prediction_and_training_is_read_from_the_files(whole: Path) -> None:
    sources = find(whole)
    said = [block for block in fits.section(sources).blocks if isinstance(block, str)]

    assert any(
        line.replace("\u00a0", " ").startswith("The prediction was written 1 min 40 s before")
        for line in said
    )


def test_every_drop_of_every_phase_is_listed(whole: Path) -> None:
    table = funnel.section(find(whole)).values["reasons"]

    assert ("filter", "Gopher quality: few words", "900", "25.9\u00a0%") in table.rows
    assert ("dedup", "repeated paragraphs (their documents stay)", "87,102", "") in table.rows


def test_documents_are_sampled_from_all_of_a_folder_and_dropped_ones_by_reason_in_words(whole: Path) -> None:
    values = examples.section(find(whole)).values

    pages = [int(document["url"].partition("page")[2].partition(".")[0]) for document in values["kept"]]
    assert len(set(pages)) == 4
    assert pages != [0, 1, 2, 3]
    reasons = {one["phase"]: [reason for reason, _ in one["reasons"]] for one in values["dropped"]}
    assert reasons == {
        "filter": ["Gopher quality: few words: 900"],
        "dedup": ["nearly the same text as another: 500"],
    }


def test_a_number_that_is_not_there_is_none_and_a_hash_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("name,params,value,stderr,config_hash\na,12,nan,,1234567890123456\n")

    assert points_of(path) == [
        {"name": "a", "params": 12, "value": None, "stderr": None, "config_hash": "1234567890123456"}
    ]
