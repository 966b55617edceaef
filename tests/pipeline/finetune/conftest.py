"""A tokenizer of a few words, and the folder of each dataset as it is published."""

from collections.abc import Callable
from pathlib import Path

import pytest

from model import tokenizer as tokenizers
from model.tokenizer import Tokenizer
from tests.pipeline.finetune.published import publish


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    text = "Ann rows a boat and Bob sleeps. Rain fell on the hills, so the river rose (it was wet)!\n"
    return tokenizers.train([text * 3, "Who rows? He said she is not that good, but a fine film."], 300)


@pytest.fixture
def published(tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: publish(tmp_path, name)
