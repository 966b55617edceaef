"""What a run is pre-trained for: the next token, or what BERT is."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from model.finetuned import FineTuned
from model.tokenizer import Tokenizer
from model.transformer import GPT
from pipeline.train.batches import Form, text_form
from pipeline.train.masking import Masking
from pipeline.train.sampler import Windows
from pipeline.train.stage import Config
from pipeline.trainer.engine import NextToken, Objective
from pipeline.trainer.headed import LANGUAGE_MODEL, Headed, write_headed
from pipeline.trainer.state import Snapshot, Writing, write_model


class NextTokens:
    """Left to right, as GPT-1 and GPT-2 are."""

    term = NextToken.name

    def __init__(self, config: Config, tokenizer: Tokenizer, eot_id: int):
        self._config, self._tokenizer = config, tokenizer
        self._eot_id = eot_id if config.document_masking else None

    def network(self, body: GPT) -> nn.Module:
        """Return what is trained around a network."""
        return body

    def objective(self) -> Objective:
        """Return the engine's objective."""
        return NextToken()

    def form(self, windows: Windows, stream: int) -> Form:  # noqa: ARG002 - nothing is drawn
        """Return what makes batches of windows; `stream` names their use."""
        return text_form(self._eot_id)

    def byte_lengths(self) -> list[int] | None:
        """Return the bytes of text of each id, where every token is predicted."""
        return self._tokenizer.byte_lengths()

    def write(self, folder: Path, snapshot: Snapshot) -> Writing:
        """Write the weights of a snapshot into a folder."""
        return write_model(folder, snapshot, self._config.model, self._tokenizer)


class Masked(NextTokens):
    """Masked positions from both sides, and whether the second piece of text follows the first."""

    term = LANGUAGE_MODEL

    def network(self, body: GPT) -> nn.Module:
        """Return the network with a head for the question of what follows."""
        return FineTuned(body, "text", 2, self._config.model.dropout)

    def objective(self) -> Objective:
        """Return both losses with equal weight, as BERT's are added."""
        return Headed("class", 1.0)

    def form(self, windows: Windows, stream: int) -> Form:
        """Return what makes masked inputs of windows."""
        return Masking(windows, self._tokenizer.vocab_size, self._config.seed, stream).batch

    def byte_lengths(self) -> list[int] | None:
        """Return nothing: a few tokens in a hundred are predicted."""
        return None

    def write(self, folder: Path, snapshot: Snapshot) -> Writing:
        """Write the weights of a snapshot into a folder, the head beside them."""
        return write_headed(folder, snapshot, self._config.model, self._tokenizer, reading="text")


OBJECTIVES: dict[str, type[NextTokens]] = {"next_token": NextTokens, "masked": Masked}
