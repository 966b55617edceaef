"""Small datasets of every kind that can be learned by heart, laid out as their originals, and a network."""

import json
from pathlib import Path

import torch

from model.config import GPTConfig
from model.tokenizer import Tokenizer
from model.transformer import GPT
from model.weights import save_model

WORDS = ("boat", "rain", "hills", "river", "film", "Bob", "Ann", "wet")


def sentence(number: int, length: int = 5) -> str:
    return " ".join(WORDS[(number * 5 + place * (1 + number % 7)) % 8] for place in range(length))


def table(head: str, rows: list[str]) -> str:
    return "\n".join([head, *rows, ""])


def classification(count: int) -> dict[str, str]:
    rows = [f"{sentence(n)} {WORDS[n % 8]}\t{(n // 3) % 2}" for n in range(count)]
    return dict.fromkeys(("SST-2/train.tsv", "SST-2/dev.tsv"), table("sentence\tlabel", rows))


def entailment(count: int) -> dict[str, str]:
    labels = ("entailment", "not_entailment")
    rows = [f"{n}\t{sentence(n)}\t{sentence(n + 3, 3)}\t{labels[(n // 2) % 2]}" for n in range(count)]
    text = table("index\tsentence1\tsentence2\tlabel", rows)
    return dict.fromkeys(("RTE/train.tsv", "RTE/dev.tsv"), text)


def similarity(count: int) -> dict[str, str]:
    head = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
    rows = [
        "\t".join([str(n), *["x"] * 6, sentence(n), sentence(n + 1 + n % 3, 4), f"{(n * 7) % 6}.0"])
        for n in range(count)
    ]
    return dict.fromkeys(("STS-B/train.tsv", "STS-B/dev.tsv"), table(head, rows))


def choice(count: int) -> dict[str, str]:
    found = {}
    for split in ("train", "dev"):
        for number in range(count // 2):
            questions = [f"{sentence(number + k, 2)}?" for k in (0, 1)]
            content = {
                "id": f"{number}.txt",
                "article": sentence(number, 8),
                "questions": questions,
                "options": [[f"{WORDS[(number + k + a) % 8]} {a}" for a in range(4)] for k in (0, 1)],
                "answers": ["ABCD"[(number * 3 + k) % 4] for k in (0, 1)],
            }
            level = "middle" if number % 2 else "high"
            found[f"RACE/{split}/{level}/{number}.txt"] = json.dumps(content)
    return found


def span(count: int) -> dict[str, str]:
    paragraphs = []
    for number in range(count):
        words = sentence(number, 9).split()
        first = (number * 4) % 7
        answer = " ".join(words[first : first + 2])
        start = len(" ".join(words[:first])) + (1 if first else 0)
        question = {
            "id": f"{number}",
            "question": f"{WORDS[number % 8]} {number}?",
            "answers": [{"answer_start": start, "text": answer}],
        }
        paragraphs.append({"context": " ".join(words), "qas": [question]})
    text = json.dumps({"data": [{"title": "x", "paragraphs": paragraphs}], "version": "1.1"})
    return dict.fromkeys(("squad/train-v1.1.json", "squad/dev-v1.1.json"), text)


KINDS = {
    "sst2": classification,
    "rte": entailment,
    "stsb": similarity,
    "race": choice,
    "squad": span,
}


def write(folder: Path, name: str, count: int = 32) -> Path:
    """Write a dataset whose validation split is its training split, and return the folder."""
    for file, text in KINDS[name](count).items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    return folder


def pretrained(folder: Path, tokenizer: Tokenizer, **shape) -> Path:
    """Write a network that has learned nothing yet, as a folder in Hugging Face's layout."""
    wanted = {"architecture": "gpt1", "n_layer": 2, "n_head": 2, "n_embd": 32, "n_ctx": 64, **shape}
    config = GPTConfig(vocab_size=tokenizer.vocab_size + wanted.pop("extra", 0), **wanted)
    torch.manual_seed(0)
    save_model(folder, GPT(config).state_dict(), config, tokenizer)
    return folder
