"""Every dataset of fine-tuning, laid out as it is published, with rows of our own."""

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.finetune.datasets import story_cloze


def tsv(*rows: str) -> str:
    """Return lines whose columns are parted by tabs, written here as bars."""
    return "".join(re.sub(r" ?\| ?", "\t", row) + "\n" for row in rows)


def passage(id: str, questions: Sequence[tuple[str, str]]) -> str:
    return json.dumps(
        {
            "id": f"{id}.txt",
            "article": "Rain fell on the hills.\nThe river rose.",
            "questions": [question for question, _ in questions],
            "options": [["the rain", "the river", "a boat", "nobody"] for _ in questions],
            "answers": [letter for _, letter in questions],
        }
    )


def squad(context: str, *answers: str) -> str:
    found = [{"answer_start": context.index(answer), "text": answer} for answer in answers]
    question = {"id": "5733be284776f41900661182", "question": " Who rows? ", "answers": found}
    return json.dumps(
        {
            "data": [{"title": "Boats", "paragraphs": [{"context": context, "qas": [question]}]}],
            "version": "1.1",
        }
    )


def stories(count: int) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([story_cloze.ID, *story_cloze.STORY, *story_cloze.ENDINGS, story_cloze.RIGHT])
    for number in range(count):
        story = [f'Ann, {number}, said "go".', "She rowed.", "It rained.", "She was wet."]
        writer.writerow([f"story-{number}", *story, "She dried.", "She flew.", 1 + number % 2])
    return text.getvalue()


MNLI = "index | promptID | pairID | genre | sentence1_parse | sentence1 | sentence2 | label1"
SNLI = "gold_label | sentence1_parse | sentence1 | sentence2 | captionID | pairID | label1 | label2"
STSB = "index | genre | filename | year | old_index | source1 | source2 | sentence1 | sentence2"
MRPC = "#1 ID | #2 ID | #1 String | #2 String"

FILES: dict[str, dict[str, str]] = {
    "cola": {
        "CoLA/train.tsv": tsv(
            "gj04 | 1 | | The boat sank.", 'gj04 | 0 | * | "Sank boat the.', "x | 1 | | He rows."
        ),
        "CoLA/dev.tsv": tsv("gj04 | 0 | * | Rows he.", "clc95 | 1 | | She rows."),
        "CoLA/test.tsv": tsv("index | sentence", "0 | A boat sank.", "1 | Boat a."),
    },
    "sst2": {
        "SST-2/train.tsv": tsv("sentence | label", "a dull film  | 0", '" bright | 1', "odd but good | 1"),
        "SST-2/dev.tsv": tsv("sentence | label", "bright and warm | 1", "so slow | 0"),
        "SST-2/test.tsv": tsv("index | sentence", "0 | a fine film", "1 | a bad film"),
    },
    "rte": {
        "RTE/train.tsv": tsv(
            "index | sentence1 | sentence2 | label",
            '0 | Rain fell on "the hills. | It rained. | entailment',
            "1 | A boat sank. | A boat flew. | not_entailment",
        ),
        "RTE/dev.tsv": tsv(
            "index | sentence1 | sentence2 | label", "0 | He rows. | A man rows. | entailment"
        ),
        "RTE/test.tsv": tsv(
            "index | sentence1 | sentence2", "0 | He rows. | He sleeps.", "1 | It is. | It was."
        ),
    },
    "qnli": {
        "QNLI/train.tsv": tsv(
            "index | question | sentence | label",
            "0 | Who rows? | Ann rows. | entailment",
            "1 | Who rows? | It rained. | not_entailment",
        ),
        "QNLI/dev.tsv": tsv("index | question | sentence | label", "0 | Who? | Ann. | not_entailment"),
        "QNLI/test.tsv": tsv("index | question | sentence", "0 | Who? | Ann did."),
    },
    "mnli": {
        "MNLI/train.tsv": tsv(
            f"{MNLI} | gold_label",
            "0 | 31 | 31n | fiction | ( x ) | Rain fell. | It rained. | entailment | entailment",
            "1 | 32 | 32c | fiction | ( x ) | Rain fell. | It was dry. | contradiction | contradiction",
            "2 | 33 | 33n | fiction | ( x ) | Rain fell. | For days. | neutral | neutral",
        ),
        "MNLI/dev_matched.tsv": tsv(
            f"{MNLI} | label2 | gold_label",
            "0 | 1 | 1n | fiction | ( x ) | He rows. | Now. | neutral | - | neutral",
        ),
        "MNLI/dev_mismatched.tsv": tsv(
            f"{MNLI} | label2 | gold_label",
            "0 | 1 | 1n | letters | ( x ) | He rows. | He moves. | neutral | - | entailment",
        ),
        "MNLI/test_matched.tsv": tsv(
            MNLI.removesuffix(" | label1"), "0 | 1 | 1n | fiction | ( x ) | A. | B."
        ),
        "MNLI/test_mismatched.tsv": tsv(
            MNLI.removesuffix(" | label1"), "0 | 1 | 1n | letters | ( x ) | A. | C."
        ),
    },
    "snli": {
        "snli_1.0/snli_1.0_train.txt": tsv(
            SNLI,
            "neutral | ( x ) | A man rows. | It is late. | 7.jpg#1 | 7.jpg#1r1n | neutral |",
            "- | ( x ) | A man rows. | He is sad. | 7.jpg#1 | 7.jpg#1r1c | neutral | contradiction",
            "entailment | ( x ) | A man rows. | A man moves. | 7.jpg#1 | 7.jpg#1r1e | entailment |",
            "contradiction | ( x ) | A man rows. | A man sleeps. | 7.jpg#1 | 7.jpg#1r2c | contradiction |",
        ),
        "snli_1.0/snli_1.0_dev.txt": tsv(
            SNLI, "entailment | ( x ) | Two dogs. | Dogs. | 8.jpg#0 | 8.jpg#0r1e | entailment | entailment"
        ),
        "snli_1.0/snli_1.0_test.txt": tsv(
            SNLI, "neutral | ( x ) | Two dogs. | Wet dogs. | 9.jpg#0 | 9.jpg#0r1n | neutral | neutral"
        ),
    },
    "scitail": {
        "SciTailV1.1/tsv_format/scitail_1.0_train.tsv": tsv(
            "Water boils when heated. | Heat boils water. | entails",
            'It is a "gas. | Steam is a liquid. | neutral',
        ),
        "SciTailV1.1/tsv_format/scitail_1.0_dev.tsv": tsv("Ice floats. | Ice is light. | entails"),
        "SciTailV1.1/tsv_format/scitail_1.0_test.tsv": tsv("Ice floats. | Ice sinks. | neutral"),
    },
    "mrpc": {
        "MRPC/train.tsv": tsv(
            f"\ufeffQuality | {MRPC}",
            '1 | 70 | 71 | He said "go. | "Go," he said.',
            "0 | 72 | 73 | A boat sank. | It rained.",
        ),
        "MRPC/dev.tsv": tsv(f"\ufeffQuality | {MRPC}", "1 | 74 | 75 | Rain fell. | It rained."),
        "MRPC/test.tsv": tsv(f"index | {MRPC}", "0 | 76 | 77 | Rain fell. | It snowed."),
    },
    "qqp": {
        "QQP/train.tsv": tsv(
            "id | qid1 | qid2 | question1 | question2 | is_duplicate",
            "133273 | 213221 | 213222 | Who rows? | Who is it that rows? | 1",
            "402555 | 536040 | 536041 | Who rows? | Why? | 0",
        ),
        "QQP/dev.tsv": tsv(
            "id | qid1 | qid2 | question1 | question2 | is_duplicate", "201359 | 1 | 2 | Why? | Why not? | 0"
        ),
        "QQP/test.tsv": tsv("id | question1 | question2", "0 | Who? | Whom?", "1 | Why? | Why so?"),
    },
    "stsb": {
        "STS-B/train.tsv": tsv(
            f"{STSB} | score",
            "0 | main-news | news | 2012 | 1 | none | none | Rain fell. | It rained. | 5.000",
            '1 | main-news | news | 2012 | 2 | none | none | A "boat sank. | A boat flew. | 1.250',
            "2 | main-news | news | 2012 | 3 | none | none | He rows. | She rows. | 3",
        ),
        "STS-B/dev.tsv": tsv(
            f"{STSB} | score",
            "0 | main-news | news | 2012 | 1 | none | none | Rain. | It rained. | 4.2",
            "1 | main-news | news | 2012 | 1 | none | none | Rain. | Ann rows. | 0.0",
        ),
        "STS-B/test.tsv": tsv(STSB, "0 | main-news | news | 2012 | 1 | none | none | Rain. | Snow."),
    },
    "race": {
        f"RACE/{split}/{level}/{number}.txt": passage(
            f"{level}{number}", [("What fell  _ ?", "A"), ("Rose?", "B")]
        )
        for split in ("train", "dev", "test")
        for level in ("middle", "high")
        for number in (7, 12)
    },
    "story_cloze": {
        f"rocstories/{story_cloze.VALIDATION}": stories(20),
        f"rocstories/{story_cloze.TEST}": stories(4),
    },
    "squad": {
        "squad/train-v1.1.json": squad(" Ann rows a boat, Bob (her son) sleeps.", "Ann"),
        "squad/dev-v1.1.json": squad("Ann rows; Bob (her son) sleeps.", "Bob", "Bob (her son)", "her son"),
    },
}


def publish(folder: Path, name: str) -> Path:
    """Write the files of a dataset below a folder."""
    for path, text in FILES[name].items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8", newline="")
    return folder
