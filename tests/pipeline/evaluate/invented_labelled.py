"""Invented rows of the datasets of fine-tuning that tasks ask about without it; see `invented`."""

import json
import math
from typing import Any

PHRASES = [
    ("the longest of the river films is also a quiet and steady joy", 1),
    ("nothing in this long and noisy heap of sheds and boats is new", 0),
    ("a warm and clever and moving tale of hills and of the rain, so fine", 1),
    ("two hours of wet ropes and no one to care about made me feel dull", 0),
]
SENTENCES = [
    ("The boat that Ann rows on the river every day is older than she is.", 1),
    ("The boat that Ann rows it on the river every day old is than she is.", 0),
    ("Bob sleeps on the hill whenever the rain has fallen for a whole day.", 1),
    ("Bob sleeps the hill whenever on rain the has fallen a for whole day.", 0),
]
PASSAGES = [
    ("Ann rows a boat over the wide river each morning and each evening.", "Where is Ann?", "in a boat", "B"),
    (
        "Bob sleeps upon the highest of the hills, in spite of all the rain.",
        "What does Bob?",
        "he sleeps",
        "D",
    ),
]
ELSEWHERE = {9: ["at school", "in a cart", "on a hill", "by a lake"]}  # by their length
BITS = math.log2(256 + 1 + 5)


def race(number: int) -> str:
    """Return a passage of RACE with a question whose answers are equally long."""
    passage, question, right, letter = PASSAGES[number]
    options = list(ELSEWHERE[len(right)])
    options["ABCD".index(letter)] = right
    content = {
        "id": f"{number}.txt",
        "article": passage,
        "questions": [question],
        "options": [options],
        "answers": [letter],
    }
    return json.dumps(content) + "\n"


def sst2() -> dict[str, Any]:
    table = "sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in PHRASES)
    files = dict.fromkeys(("SST-2/train.tsv", "SST-2/dev.tsv"), table)
    return {
        "files": files,
        "known": tuple(f"{text} very {('negative', 'positive')[label]}" for text, label in PHRASES),
        "right": {"accuracy": 1, "context_cut": 0},
        "chance": {"accuracy": 1 / 2},
        "damaged": (
            (dict.fromkeys(files, table.replace("dull\t0", "dull\t7")), r"dev\.tsv:5: "),
            (dict.fromkeys(files, table.replace("dull\t0", "dull")), r"dev\.tsv:5: "),
        ),
    }


def cola() -> dict[str, Any]:
    table = "".join(f"x\t{label}\t{'' if label else '*'}\t{text}\n" for text, label in SENTENCES)
    files = dict.fromkeys(("CoLA/train.tsv", "CoLA/dev.tsv"), table)
    return {
        "files": files,
        "known": tuple(text for text, label in SENTENCES if label),
        "right": {"matthews": 1, "accuracy": 1, "context_cut": 0},
        "chance": {"matthews": 0, "bits_per_byte": BITS},
        "damaged": ((dict.fromkeys(files, table.replace("x\t0", "x\tno", 1)), r"dev\.tsv:2: "),),
    }


def questions() -> dict[str, Any]:
    files = {
        f"RACE/{split}/{level}/{number}.txt": race(number)
        for split in ("train", "dev")
        for number, level in enumerate(("middle", "high"))
    }
    broken = {name: text.replace('"answers": ["D"]', '"answers": ["E"]') for name, text in files.items()}
    return {
        "files": files,
        "known": tuple(f"{passage}\n{question} {right}" for passage, question, right, _ in PASSAGES),
        "right": {"accuracy": 1, "context_cut": 0},
        "chance": {"accuracy": 1 / 4},
        "damaged": ((broken, r"1\.txt"),),
    }


LABELLED = {"cola_log_prob": cola(), "race_log_prob": questions(), "sst2_very": sst2()}
