"""The report of a study of several arms: what it shows, its figures as files, its Markdown summary."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from pipeline.formats.publish import read_json, write_json
from pipeline.report import beside, page
from pipeline.report.palette import COLOURS
from pipeline.report.sources import find
from tests.pipeline.report import ladders
from tests.pipeline.report.test_page import Page

HOSTILE = "<b onload=alert(1)>"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("ladders") / "study"
    ladders.write(folder)
    page.write(folder)
    return folder


@pytest.fixture
def study(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "study")


def read(study: Path) -> str:
    return Page(page.write(study).read_text(encoding="utf-8")).text


def change(study: Path, edit: Any) -> None:
    verdict = read_json(study / "verdict.json")
    edit(verdict)
    write_json(study / "verdict.json", verdict)


@pytest.mark.parametrize(
    "words",
    [
        "What speaks for it",
        "What speaks against it",
        "accuracy (piqa): no value of",
        "Success by the rule set before training",
        "20 tokens for each non-embedding parameter",
        "steps that gain nothing",
        "times the scatter of one run",
        "E + A/N^alpha + B/D^beta",
        "The best size for a budget, arm isoflop",
        "Kaplan's count, without embeddings",
        "More data at the same size",
        "Accuracy in two steps",
        "The target is 1.200 bits per byte (held out).",
        "The rule checked: the rule holds",
        "Cerebras-GPT: 20 tokens per parameter; 2.07 decades of size",
        "at chance",
    ],
)
def test_the_page_tells(whole: Path, words: str) -> None:
    text = Page((whole / "report.html").read_text(encoding="utf-8")).text

    assert words in text
    assert words in re.sub(r"\\(.)", r"\1", (whole / "report.md").read_text(encoding="utf-8"))


def test_every_figure_of_the_page_is_an_svg_file_with_a_table_of_the_same_name(whole: Path) -> None:
    text = (whole / "report.html").read_text(encoding="utf-8")
    drawn = set(re.findall(r'<figure id="([^"]+)-figure">', text))

    for suffix in ("svg", "csv"):
        assert {path.stem for path in (whole / "figures").glob(f"*.{suffix}")} == drawn
    assert {"value-by-size", "value-by-size-optimal", "value-by-compute", "equal-flops-isoflop", "laws",
            "residuals", "rule-of-rates", "series-lambada-accuracy", "two-step-lambada-accuracy-fixed",
            } <= drawn  # fmt: skip


def test_what_is_said_of_every_count_and_method_is_said_once(study: Path) -> None:
    def warn(verdict: dict[str, Any]) -> None:
        for row in verdict["frontier"]:
            row["warnings"] = ["1.5e+10 FLOPs: too few sizes"]
            row["exponents"] = {"a": None, "b": None}
        verdict["frontier"][0]["warnings"].append("only this one")

    change(study, warn)

    text = read(study).replace("\u00a0", " ")
    assert text.count("1.5 × 10¹⁰ FLOPs: too few sizes") == 1
    assert "Kaplan's count, without embeddings, parabola: only this one" in text
    assert "best N as C^a" not in text


def test_a_figures_file_is_whole_and_its_colours_are_for_light_and_dark_paper(whole: Path) -> None:
    for path in (whole / "figures").glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        root = ElementTree.fromstring(text)

        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root[0].text
        assert "var(" not in text
        assert not any(colour.sentinel in text for colour in COLOURS)


def test_a_figures_table_has_every_run_and_every_number_of_law_and_interval(whole: Path) -> None:
    with (whole / "figures" / "value-by-size.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with (whole / "points.csv").open(encoding="utf-8") as file:
        runs = {
            row["name"]: row["value"] for row in csv.DictReader(file) if row["metric"].startswith("held_out")
        }

    fitted = {row["name"]: row["y"] for row in rows if row["series"].startswith("run")}
    choice = read_json(whole / "fits" / "choice.json")
    assert len(fitted) == 14
    assert all(float(fitted[name]) == float(runs[name]) for name in fitted)
    banded = [float(row["low"]) for row in rows if row["series"] == "95 % interval of a new run"]
    assert banded == choice["curve"]["low"]
    predicted = next(row for row in rows if row["series"].startswith("predicted"))
    assert float(predicted["y"]) == choice["prediction"]["value"]


def test_the_same_files_give_the_same_bytes(whole: Path, study: Path) -> None:
    page.write(study)

    for path in (whole / "figures").iterdir():
        assert path.read_bytes() == (study / "figures" / path.name).read_bytes()
    assert (whole / "report.md").read_bytes() == (study / "report.md").read_bytes()


def test_links_of_the_summary_lead_to_files(whole: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", (whole / "report.md").read_text(encoding="utf-8"))

    assert links
    assert all((whole / link).is_file() for link in links)


def test_names_from_a_study_are_shown_and_never_live(study: Path) -> None:
    def poison(verdict: dict[str, Any]) -> None:
        verdict["speaks_against"].append(f"{HOSTILE} | *x*")
        verdict["arms"][1]["words"] = HOSTILE

    change(study, poison)

    text = page.write(study).read_text(encoding="utf-8")
    summary = (study / "report.md").read_text(encoding="utf-8")
    assert HOSTILE in Page(text).text
    assert "<b onload" not in text
    assert r"\<b onload=alert(1)\> \| \*x\*" in summary


def test_a_metric_of_too_few_sizes_is_named_and_not_drawn_as_a_line(study: Path) -> None:
    def cut(verdict: dict[str, Any]) -> None:
        for row in verdict["series"]:
            empty = dict.fromkeys(
                ("decades", "slope", "r2", "log_log_r2", "steps", "wrong_steps", "held_out_error",
                 "held_out_relative", "error_in_noise", "curve", "held_out")
            )  # fmt: skip
            row |= empty | {"slope_interval": [None, None], "shape": "too few sizes: 2"}
            row["sizes"], row["values"] = row["sizes"][:2], row["values"][:2]

    change(study, cut)

    assert "too few sizes: 2" in read(study)
    assert "line" not in (study / "figures" / "series-lambada-accuracy.csv").read_text()


def test_a_verdict_of_one_arm_without_the_newer_keys_still_has_its_report(study: Path) -> None:
    older = ("written", "failures", "metric", "better", "abscissa", "sizes", "noise", "inversions",
             "held_out", "criteria", "passed", "summary")  # fmt: skip
    verdict = read_json(study / "verdict.json")
    write_json(study / "verdict.json", {key: verdict[key] for key in older})
    plan = read_json(study / "plan.json")
    del plan["arms"]
    plan["runs"] = [run for run in plan["runs"] if run["arm"] == "fixed"]
    write_json(study / "plan.json", plan)
    for path in (study / "fits").glob("*-*-*.json"):
        path.unlink()

    text = read(study)

    assert "Success by the rule set before training" in text
    assert "What speaks for it" not in text
    assert "The laws side by side" in text


def test_a_finished_study_gets_its_report_and_one_that_stands_is_kept(study: Path) -> None:
    for name in ("report.html", "report.md"):
        (study / name).unlink()
    shutil.rmtree(study / "figures")

    page.renew(study)
    written = (study / "report.html").stat().st_mtime_ns
    page.renew(study)

    assert (study / beside.SUMMARY).is_file() and any((study / beside.FIGURES).iterdir())
    assert (study / "report.html").stat().st_mtime_ns == written


def test_a_study_without_a_verdict_is_left_alone(study: Path) -> None:
    (study / "verdict.json").unlink()
    (study / "report.html").unlink()

    page.renew(study)

    assert not (study / "report.html").exists()
    assert "There is no verdict yet" in page.render(find(study)) or "no verdict yet" in page.render(
        find(study)
    )
