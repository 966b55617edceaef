"""The page as a whole: what appears when, that it needs no other file, and that nothing in it is live."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError, FormatError
from pipeline.formats.publish import write_json
from pipeline.report import examples, fits, page
from pipeline.report.sources import find
from pipeline.study import collect, sweep

VOID = {"meta", "br", "hr", "img", "input", "link", "source", "col", "wbr"}
LAWS = {"claim", "series", "forms", "compute", "two-step", "anchors"}
SECTIONS = LAWS | {
    "result", "fits", "evaluation", "curves", "samples", "funnel", "examples", "corpus", "rates", "parity",
    "environment", "commands",
}  # fmt: skip


class Page(HTMLParser):
    """Reads a page, and complains of an element that is not closed, or closed where it is not open."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    @property
    def ids(self) -> list[str]:
        return [attributes["id"] or "" for _, attributes in self.elements if "id" in attributes]


@pytest.fixture(scope="module")
def text(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    copy = shutil.copytree(whole, tmp_path_factory.mktemp("page") / "quickstart")
    return page.write(copy).read_text(encoding="utf-8")


def without_remedies(text: str) -> set[str]:
    """Return the sections that show something."""
    parts = re.split(r'<section id="([^"]+)">', text)[1:]
    return {
        name
        for name, body in zip(parts[::2], parts[1::2], strict=True)
        if not re.search(r'</h2>\s*<p class="remedy">', body)
    }


def test_a_finished_quickstart_shows_every_section(text: str) -> None:
    assert without_remedies(text) == SECTIONS


def test_the_page_is_whole_html_and_every_id_is_there_once(text: str) -> None:
    parsed = Page(text)

    assert text.startswith("<!doctype html>")
    assert sorted(parsed.ids) == sorted(set(parsed.ids))
    pointed = re.findall(r"url\(#([^)]+)\)", text) + [
        (attributes.get("href") or "")[1:] for _, attributes in parsed.elements if attributes.get("href")
    ]
    assert set(pointed) <= set(parsed.ids)


def test_the_page_asks_for_no_other_file(text: str) -> None:
    for tag, attributes in Page(text).elements:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "img"), tag
        for name in ("src", "srcset", "data", "action", "poster", "background", "xlink:href"):
            assert name not in attributes, (tag, name)
        assert (attributes.get("href") or "#").startswith("#")
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    assert "@import" not in text


def test_text_of_pages_and_models_is_shown_but_never_live(text: str) -> None:
    parsed = Page(text)

    assert "<script>alert('planted')</script>" in parsed.text  # from a page, from a model: to be read
    assert not any(name.startswith("on") for _, attributes in parsed.elements for name in attributes)
    assert "<script" not in text.lower()


def test_the_same_files_give_the_same_bytes(quickstart: Path, text: str) -> None:
    again = page.write(quickstart).read_text(encoding="utf-8")

    assert again.replace(str(quickstart), "") == re.sub(r"/\S*/page\d*/quickstart", "", text)


def test_the_page_is_small(text: str) -> None:
    assert len(text.encode()) < 3_000_000


@pytest.mark.parametrize(
    ("parts", "lost"),
    [
        (("data", "parity.json", "commands.json"), {"funnel", "examples", "corpus", "parity", "commands"}),
        (
            ("study", "environment.json"),
            {"result", "fits", "evaluation", "curves", "samples", "rates", "environment"},
        ),
    ],
)
def test_a_section_without_its_files_says_how_to_make_them(
    quickstart: Path, parts: tuple[str, ...], lost: set[str]
) -> None:
    for path in (quickstart / part for part in parts):
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    text = page.write(quickstart).read_text(encoding="utf-8")

    assert without_remedies(text) == SECTIONS - lost - (LAWS if "result" in lost else set())
    assert text.count('<p class="remedy">') == len(lost)
    Page(text)


def test_a_dataset_a_study_and_a_run_have_reports_of_their_own(quickstart: Path) -> None:
    run = next((quickstart / "study" / "runs").iterdir())
    shown = {
        path.name: without_remedies(page.write(path).read_text(encoding="utf-8"))
        for path in (quickstart / "data", quickstart / "study", run)
    }

    assert shown["data"] == {"funnel", "examples", "corpus", "commands"}
    assert {"result", "fits", "evaluation", "curves"} <= shown["study"]
    assert shown[run.name] == {"curves", "evaluation", "samples", "environment", "commands"}


def test_a_verdict_that_failed_is_said_as_plainly_as_one_that_passed(quickstart: Path) -> None:
    change(quickstart / "study" / "verdict.json", fail_the_last_criterion)

    read = Page(page.write(quickstart / "study").read_text(encoding="utf-8")).text

    assert "No success by the rule set before training" in read
    assert "the success rule set beforehand was not met" in read
    assert "not met The largest was predicted Measured missing" in read


def test_values_that_are_missing_are_shown_as_missing(quickstart: Path) -> None:
    points = quickstart / "study" / "points.csv"
    rows = points.read_text().splitlines()
    column = rows[0].split(",").index("value")
    blanked = [row.split(",") for row in rows[1:]]
    blanked[0][column] = ""
    points.write_text("\n".join([rows[0], *(",".join(row) for row in blanked)]) + "\n")
    shutil.rmtree(quickstart / "study" / "runs")

    read = page.write(quickstart / "study").read_text(encoding="utf-8")

    assert '<td class="missing">missing</td>' in read
    assert len(re.findall(r"<td[^>]*>0\.000", read)) == 0


def test_a_loss_that_is_not_finite_leaves_a_gap_and_no_zero(quickstart: Path) -> None:
    run = next((quickstart / "study" / "runs").iterdir())
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step":61,"tokens":1300000,"loss":null,"grad_norm":null}\n')

    row = re.findall(rf">{run.name}</td>.*", page.write(run).read_text(encoding="utf-8"))[0]

    assert row.count('<td class="missing">missing</td>') == 1
    assert "0.000" not in row


def test_a_study_in_its_middle_is_reported_as_far_as_it_is(quickstart: Path) -> None:
    for name in ("verdict.json", "fits/choice.json", "fits/power.json"):
        (quickstart / "study" / name).unlink()

    read = Page(page.write(quickstart / "study").read_text(encoding="utf-8")).text

    assert "No verdict yet" in read
    assert "No law has been chosen yet" in read


def test_a_prediction_younger_than_the_training_is_not_called_one(quickstart: Path) -> None:
    change(
        quickstart / "study/fits/choice.json",
        lambda choice: choice.update(written="2026-01-02T00:00:00+00:00"),
    )

    said = [block for block in fits.section(find(quickstart)).blocks if isinstance(block, str)]

    late = re.compile("The largest size began to train .* before the prediction was written.")
    assert any(late.fullmatch(line) for line in said)


def test_a_directory_of_nothing_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no manifest.json"):
        page.write(tmp_path)
    with pytest.raises(ConfigError, match="no such directory"):
        page.write(tmp_path / "absent")


def test_damaged_documents_are_named(quickstart: Path) -> None:
    path = quickstart / "data/dropped/dedup/near/00000.jsonl.zst"
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(FormatError, match="near/00000"):
        examples.section(find(quickstart))


def test_a_sweep_shows_the_best_rate_of_each_width_and_supports_the_rule(quickstart: Path) -> None:
    make_sweep(quickstart / "sweep")

    alone = page.write(quickstart / "sweep").read_text(encoding="utf-8")
    within = Page(page.write(quickstart).read_text(encoding="utf-8")).text

    assert "rates" in without_remedies(alone)
    assert "best peak learning rates by bits per byte (held out) are" in Page(alone).text
    assert "Every rate that was tried" in within
    drawn = (quickstart / "sweep/figures/value-by-rate.csv").read_text(encoding="utf-8").splitlines()
    assert any(row.startswith("width 64,scored 3.11") and row.endswith(",0.004,1.0,,") for row in drawn)
    assert "The peak learning rate of the ladder's runs is 0.0100 · (width / 32)^(−1.00)" in within


def test_a_file_of_another_shape_is_refused_by_name_of_its_section(quickstart: Path) -> None:
    change(quickstart / "study/fits/choice.json", lambda choice: choice.pop("prediction"))

    with pytest.raises(FormatError, match="section `result`"):
        page.write(quickstart / "study")


def test_backticks_become_code_and_the_rest_stays_text() -> None:
    assert page.code_spans("run `a <b>` & go") == "run <code>a &lt;b&gt;</code> &amp; go"


def test_kinds_are_told_apart(quickstart: Path) -> None:
    run = next((quickstart / "study" / "runs").iterdir())
    found = [find(path).kind for path in (quickstart, quickstart / "data", quickstart / "study", run)]

    assert found == ["quickstart", "dataset", "study", "run"]


def make_sweep(directory: Path) -> None:
    """Write a sweep of three rates at two widths whose best rates are 0.004 and 0.002."""
    first = collect.read(directory.parent / "study" / "points.csv")[0]
    grid = [(w, f) for w in (32, 64) for f in (0.5, 1.0, 2.0)]
    points = [
        replace(
            first,
            name=f"w{w}-x{f}",
            metric="held_out.bits_per_byte",
            lr=0.128 / w * f,
            value=2 + 64 / w / 9 + abs(f - 1),
        )
        for w, f in grid
    ]
    rungs = {point.name: point.name.partition("-")[0] for point in points}
    verdict = sweep.verdict(points, rungs, {"w32": 32, "w64": 64}, "held_out.bits_per_byte", -1)
    collect.write(directory / "points.csv", points)
    write_json(directory / "verdict.json", verdict)


def fail_the_last_criterion(verdict: dict[str, Any]) -> None:
    verdict["passed"] = False
    verdict["criteria"][-1].update(passed=False, value=None)


def change(path: Path, edit: Any) -> None:
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))
