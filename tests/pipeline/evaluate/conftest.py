"""A dataset of real words in two splits, and a run with one checkpoint of an untrained model."""

import random
import shutil
import string
from pathlib import Path

import pytest
import torch

from model import tokenizer as tokenizers
from model.config import GPTConfig
from model.transformer import GPT
from model.weights import save_model
from pipeline.evaluate.task import Setting
from pipeline.formats import checkpoint as checkpoints
from tests.pipeline.formats.datasets import write_dataset

RELEASE = Path(__file__).parents[2] / "model" / "gpt2_release"
SHAPE = GPTConfig(n_layer=2, n_head=2, n_embd=16, n_ctx=64, vocab_size=400)


def texts(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    words = ["".join(random.Random(n).choices(string.ascii_lowercase, k=2 + n % 9)) for n in range(80)]
    return [" ".join(draw.choices(words, k=draw.randint(3, 200))) + ".\n" for _ in range(count)]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    splits = {"train": texts(60, 0), "validation": texts(20, 1), "test": [*texts(20, 2), "Zürich – “naïve”"]}
    tokenizer = tokenizers.train([text for split in splits.values() for text in split], 400)
    return write_dataset(folder, tokenizer, {f"{split}-00000": found for split, found in splits.items()})


@pytest.fixture(scope="session")
def network() -> GPT:
    torch.manual_seed(0)
    model = GPT(SHAPE).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    return model


@pytest.fixture
def run(tmp_path, dataset, network) -> Path:
    """A run directory with the checkpoint of step 5, as training leaves it."""
    add_checkpoint(tmp_path / "run", 5, network, dataset)
    return tmp_path / "run"


def add_checkpoint(run: Path, step: int, network: GPT, dataset: Path, complete: bool = False) -> Path:
    meta = checkpoints.Meta(
        step=step,
        tokens=step * 64,
        complete=complete,
        engine="single",
        world_size=1,
        epoch=1,
        config_hash="c",
        data_hash="d",
    )
    with checkpoints.writing(run / "checkpoints", meta, lambda: None) as draft:
        save_model(draft / "model", network.state_dict(), SHAPE, tokenizers.load(dataset))
        (draft / "state").mkdir()
        (draft / "state" / "step.json").write_text("{}")
    return run / "checkpoints" / checkpoints.name_of(step)


@pytest.fixture
def setting(dataset) -> Setting:
    return Setting(corpus=dataset, tokenizer=tokenizers.load(dataset), n_ctx=64)


@pytest.fixture
def release(tmp_path):
    """A folder as OpenAI released GPT-2's, with a tokenizer of its few ids."""
    folder = Path(shutil.copytree(RELEASE, tmp_path / "release"))
    tokenizers.train(["one two three " * 30], 265).save(tmp_path / "tokenizer")
    shutil.copy(tmp_path / "tokenizer" / "vocab.json", folder / "encoder.json")
    shutil.copy(tmp_path / "tokenizer" / "merges.txt", folder / "vocab.bpe")
    return folder
