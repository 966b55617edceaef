"""Published families of models: sizes, training tokens, and what each size scored; figures, not texts.

Cerebras-GPT and Pythia as Dey et al. 2023 print them side by side (Cerebras-GPT, arXiv 2304.03208, Table 8):
zero-shot accuracy as shares, and the loss on the Pile's test set in nats per token of each family's own
tokenizer, so losses compare within a family only. GPT-2's figures are in `pipeline.formats.paper`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LOSS = "pile.loss"
ACCURACIES = (
    "hellaswag.accuracy",
    "piqa.accuracy",
    "winogrande.accuracy",
    "lambada.accuracy",
    "arc_easy.accuracy",
    "arc_challenge.accuracy",
    "openbookqa.accuracy",
)
EXAMPLES: Mapping[str, int] = {  # of the split that each task is scored on, for the error of a share
    "arc_challenge": 1172,
    "arc_easy": 2376,
    "cbt_cn": 2000,
    "cbt_ne": 2000,
    "hellaswag": 10_042,
    "lambada": 5153,
    "natural_questions": 3610,
    "openbookqa": 500,
    "piqa": 1838,
    "winograd": 273,
    "winogrande": 1267,
}
TABLE_8 = "Dey et al. 2023, Table 8"


@dataclass(frozen=True, kw_only=True)
class Size:
    """One model of a family: its parameters, embeddings included, and its score by metric."""

    params: float
    tokens: float
    loss: float
    accuracies: tuple[float, ...]  # in the order of ACCURACIES


@dataclass(frozen=True, kw_only=True)
class Family:
    """Sizes from small to large; `loss_noise` is the share by which a repeated run's loss differs."""

    name: str
    regime: str
    source: str
    sizes: Sequence[Size]
    loss_noise: float | None = None


def _size(params: float, tokens: float, loss: float, *accuracies: float) -> Size:
    return Size(params=params, tokens=tokens, loss=loss, accuracies=accuracies)


_PYTHIA_TOKENS = 299_892_736_000

CEREBRAS = Family(
    name="Cerebras-GPT",
    regime="20 tokens per parameter",
    source=TABLE_8,
    loss_noise=0.0035,  # what the paper gives for repeated runs
    sizes=(
        _size(111e6, 2.22e9, 2.608, 0.268, 0.594, 0.488, 0.194, 0.380, 0.166, 0.118),
        _size(256e6, 5.12e9, 2.349, 0.274, 0.613, 0.511, 0.293, 0.410, 0.170, 0.158),
        _size(590e6, 11.8e9, 2.181, 0.291, 0.627, 0.498, 0.366, 0.464, 0.190, 0.158),
        _size(1.3e9, 26.3e9, 1.997, 0.325, 0.664, 0.521, 0.462, 0.508, 0.224, 0.166),
        _size(2.7e9, 53.0e9, 1.834, 0.386, 0.701, 0.559, 0.567, 0.571, 0.246, 0.206),
        _size(6.7e9, 133e9, 1.704, 0.447, 0.739, 0.602, 0.636, 0.643, 0.282, 0.238),
        _size(13e9, 257e9, 1.572, 0.513, 0.766, 0.646, 0.696, 0.714, 0.367, 0.286),
    ),
)
PYTHIA = Family(
    name="Pythia",
    regime="300B tokens at every size",
    source=f"{TABLE_8}; parameters as released",
    sizes=(
        _size(70_426_624, _PYTHIA_TOKENS, 2.504, 0.270, 0.590, 0.491, 0.259, 0.413, 0.185, 0.132),
        _size(162_322_944, _PYTHIA_TOKENS, 2.186, 0.293, 0.627, 0.519, 0.389, 0.452, 0.181, 0.160),
        _size(405_334_016, _PYTHIA_TOKENS, 1.971, 0.333, 0.668, 0.530, 0.505, 0.504, 0.213, 0.178),
        _size(1_011_781_632, _PYTHIA_TOKENS, 1.845, 0.376, 0.705, 0.545, 0.566, 0.559, 0.243, 0.196),
        _size(1_414_647_808, _PYTHIA_TOKENS, 1.793, 0.398, 0.711, 0.565, 0.604, 0.576, 0.256, 0.204),
        _size(2_775_208_960, _PYTHIA_TOKENS, 1.720, 0.451, 0.737, 0.612, 0.654, 0.629, 0.288, 0.220),
        _size(6_857_302_016, _PYTHIA_TOKENS, 1.626, 0.482, 0.746, 0.611, 0.679, 0.669, 0.323, 0.270),
        _size(11_846_072_320, _PYTHIA_TOKENS, 1.582, 0.505, 0.761, 0.645, 0.705, 0.700, 0.336, 0.284),
    ),
)
FAMILIES = (CEREBRAS, PYTHIA)
