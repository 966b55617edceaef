"""Our figures beside the GPT-2 paper's, the overlap with training text, and answers for reading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.formats.paper import PAPER, SIZES
from pipeline.formats.results import Result, Results, write_records
from pipeline.report import answers, overlaps, page, paper
from pipeline.report.evaluation import scores_of
from pipeline.report.paper_bars import bars
from pipeline.report.sources import find

HOSTILE = "<script>alert(1)</script> | pipe"
OURS = {
    ("lambada", "perplexity"): (41.25, 1.5),
    ("lambada", "accuracy_stop_word_filter"): (0.3251, 0.0066),
    ("winograd", "accuracy_partial"): (0.5861, 0.0299),
    ("wikitext2", "word_perplexity"): (1234.5, 20.0),
    ("enwik8", "bits_per_byte"): (1.5, None),
    ("coqa", "f1"): (0.2871, 0.012),
    ("cnn_dailymail", "rouge_average"): (15.1, 0.2),
    ("cnn_dailymail", "rouge_average_lead_3"): (30.2, 0.3),
    ("overlap", "shared_lambada"): (0.02, 0.001),
    ("overlap", "own_training_lambada"): (0.03, 0.001),
    ("overlap", "shared_generations"): (0.01, 0.001),
    ("overlap", "shared_generations_none"): (0.25, 0.2),
    ("overlap", "shared_held_out_text_median"): (0.03, None),
    ("lambada", "bits_per_byte"): (1.1, 0.02),
}


def result(task: str, metric: str, value: float, stderr: float | None, **more: Any) -> Result:
    shared: dict[str, Any] = {"num_examples": 500, "dtype": "fp32", "data_sha256": "0" * 64}
    return Result(
        task=task, metric=metric, value=value, stderr=stderr, protocol=HOSTILE, **{**shared, **more}
    )


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Results of one checkpoint in the layout that an evaluation leaves below a Hugging Face folder."""
    model = tmp_path / "gpt2-hf"
    folder = model / "results" / "abcdef"
    figures = [result(task, metric, *figure) for (task, metric), figure in OURS.items()]
    figures.append(result("lambada", "perplexity", 42.0, 1.6, num_examples=460, subset="no-overlap"))
    suite = Results(checkpoint=str(model), weights_hash="w", origin={}, results=tuple(figures))
    suite.write(folder / "gpt2-paper.json")
    shape = {"n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 1024, "vocab_size": 50257}
    (model / "config.json").write_text(json.dumps(shape))
    write_records(folder / "lambada.jsonl.zst", [word(number) for number in range(12)])
    write_records(folder / "overlap.jsonl.zst", [shared(number) for number in range(20)])
    return model


def word(number: int) -> dict[str, Any]:
    return {
        "number": number,
        "passage": "long ago " * 300 + HOSTILE,
        "word": f"word-{number}",
        "hit": number % 3 == 0,
        "nats": 1.5,
    }


def shared(number: int) -> dict[str, Any]:
    of = ("generations", "held_out_text", "lambada", "lambada")[number % 4]
    return {
        "number": number, "of": of, "of_number": number, "ngrams": 100, "shared": 3 * number % 20,
        "longest": "one two three four five six seven eight " * (1 + number % 2),
    }  # fmt: skip


def cells(text: str) -> dict[str, list[str]]:
    """Return the Markdown table's rows by task and metric."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {line[0]: line[1:] for line in lines[2:]}


def test_the_paper_s_figures_and_ours_stand_in_one_row(results: Path) -> None:
    table = paper.table(paper.rows(find(results).runs))
    by_metric = {row[0]: row[1:] for row in table.rows}

    assert table.head[1:6] == ("gpt2-hf", *SIZES)
    assert by_metric["LAMBADA, accuracy, stop-word filter, %"] == (
        "32.51\u00a0±\u00a00.66", "45.99", "55.48", "60.12", "63.24", "59.23",
    )  # fmt: skip
    assert by_metric["LAMBADA, perplexity"][1] == "35.13"
    assert by_metric["Winograd, partial scoring, accuracy, %"][1:5] == (
        "≈61.54", "≈62.27", "≈69.23", "70.70",
    )  # fmt: skip
    assert by_metric["CNN/DailyMail, the first three sentences, ROUGE, mean"][-1] == "31.55"
    assert ("overlap", "shared_lambada") in OURS
    assert not any("shared" in name for name in by_metric)


def test_the_markdown_table_has_the_same_numbers(results: Path) -> None:
    sources = find(results)
    text = paper.markdown(paper.rows(sources.runs))

    found = cells(text)
    assert paper.markdown_path(sources) == results / "paper.md"
    assert found["WikiText-2, perplexity per word"][0] == "1,234 ± 20"
    assert found["enwik8, bits per byte"] == ["1.50", "1.16", "1.01", "0.97", "0.93", "0.99"]
    assert len(found) == sum(key in PAPER and key[0] != "overlap" for key in OURS)
    assert HOSTILE in text  # the protocol, outside of the table


def test_a_column_of_markdown_is_never_broken_by_what_a_cell_holds(results: Path) -> None:
    suite = results / "results" / "abcdef" / "gpt2-paper.json"
    suite.write_text(suite.read_text().replace(str(results), "/models/a|b"))

    lines = [line for line in paper.markdown(paper.rows(find(results).runs)).splitlines() if line[:1] == "|"]

    assert "a\\|b" in lines[0]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_every_unit_has_bars_of_its_own_with_the_paper_s_figures_in_words(results: Path) -> None:
    figures = {figure.name: figure for figure in bars(paper.rows(find(results).runs))}

    assert list(figures) == ["paper-shares", "paper-perplexities", "paper-bits"]
    assert "ours gpt2-hf 32.51; the paper's 117M 45.99" in figures["paper-shares"].description
    assert "WikiText-2: perplexity per word" in figures["paper-perplexities"].wide
    assert "first three sentences" not in figures["paper-shares"].wide
    drawn = figures["paper-perplexities"].data.splitlines()
    assert "gpt2-hf,LAMBADA: perplexity,41.25,,39.75,42.75" in drawn
    assert "paper: 117M,LAMBADA: perplexity,35.13,,," in drawn


def test_the_page_of_an_evaluation_shows_tables_overlap_and_answers(results: Path) -> None:
    text = page.write(results).read_text(encoding="utf-8")

    assert find(results).kind == "results"
    assert (results / "paper.md").read_text(encoding="utf-8") == paper.markdown(
        paper.rows(find(results).runs)
    )
    for name in ("paper", "overlap", "answers", "evaluation"):
        assert f'<section id="{name}">' in text
    assert "<script" not in text
    assert "Not measured here: CBT common nouns, CBT named entities" in text


def test_overlap_is_told_beside_table_6_and_figure_5(results: Path) -> None:
    values = overlaps.section(find(results)).values

    assert values["shares"].rows == [
        ("LAMBADA", "2.00\u00a0±\u00a00.10\u00a0%", "1.20\u00a0%", "3.00\u00a0±\u00a00.10\u00a0%", "")
    ]
    assert values["without"].rows == [
        ("perplexity (lambada)", "41.2\u00a0±\u00a01.5", "42.0\u00a0±\u00a01.6", "40")
    ]
    assert "5 texts" in values["figure"].description
    assert "held-out text,,15.0,80.0,," in values["figure"].data.splitlines()
    assert dict(values["told"])["texts of the model without overlap"].endswith("(paper: 30.00\u00a0%)")
    assert values["stretches"][0][0].endswith("16 words in a row")


def test_hits_and_misses_are_drawn_and_a_long_passage_is_cut_to_its_end(results: Path) -> None:
    (task,) = [one for one in answers.section(find(results)).values["tasks"] if one["task"] == "LAMBADA"]
    shown = dict(task["kinds"])

    assert [dict(one["parts"])["hit"] for one in shown["Hits"]] == ["yes", "yes"]
    assert [dict(one["parts"])["hit"] for one in shown["Misses"]] == ["no", "no"]
    assert dict(shown["Hits"][0]["parts"])["passage"].endswith(HOSTILE)
    assert len(dict(shown["Hits"][0]["parts"])["passage"]) < 500


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"number": 0, "hit_full": True, "hit_partial": False}, 1.0),
        ({"number": 0, "f1": 0.5, "exact_match": False}, 0.0),
        ({"number": 0, "scores": {"summary": {"rouge_average": 21.5}, "lead_3": {}}}, 21.5),
        ({"number": 0, "nats": 3.0}, None),
    ],
)
def test_an_example_s_score_is_found_in_its_record(record: dict[str, Any], expected: float | None) -> None:
    assert answers.score_of(record) == expected


def test_a_folder_of_several_checkpoints_has_a_column_for_each_and_scores_of_its_own(results: Path) -> None:
    other = results / "results" / "fedcba"
    suite = Results(
        checkpoint="/gone/step-7",
        weights_hash="v",
        origin={},
        results=(result("lambada", "perplexity", 9, 1),),
    )
    suite.write(other / "gpt2-paper.json")

    sources = find(results / "results")
    table = paper.table(paper.rows(sources.runs))

    assert sorted(table.head[1:3]) == ["gpt2-hf", "step-7"]
    assert [score.value for score in scores_of(sources.runs[1])] == [9]
    assert sources.runs[0].params == 124_439_808
    assert any("missing" in row for row in table.rows)


def test_other_tasks_have_no_row(tmp_path: Path) -> None:
    figures = (result("held_out", "bits_per_byte", 1.2, 0.1),)
    Results(checkpoint="c", weights_hash="w", origin={}, results=figures).write(tmp_path / "suite.json")

    assert paper.rows(find(tmp_path).runs) == []


def test_an_answer_is_shown_without_empty_lines_and_repeated_references_once(tmp_path: Path) -> None:
    record = {
        "number": 0,
        "f1": 0.0,
        "references": ["white", "white"],
        "answer": "\n \n",
        "text": "a\n\n\n\nb",
    }

    (kind, (shown,)), *_ = answers.hits_and_misses([record])

    assert kind == "Misses"
    assert dict(shown["parts"]) == {
        "f1": "0", "references": "white", "answer": "(blank)", "text": "a\n\nb",
    }  # fmt: skip
