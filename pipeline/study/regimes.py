"""For how many tokens each size of an arm is trained: a count, by parameters, by FLOPs, growing, branched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pydantic

from model.config import FlopsFormula, GPTConfig, flops_per_token, parameters_non_embedding
from pipeline.config import Schema, identity

FLOPS_FORMULA: FlopsFormula = "6N_matmul + 6LdT"
FIXED, BY_SIZE, BY_FLOPS = "fixed tokens", "tokens per parameter", "equal FLOPs"
GROWING, BRANCHED = "growing data", "branches"
RATES, CHECK = "learning rates", "check"
ONE_RULE = (FIXED, BY_SIZE)
"""The regimes of a ladder: one number of tokens for each size."""


class Regime(Schema):
    """The tokens of an arm's runs; one of the five is given.

    branches: one trunk at the peak rate, and for each horizon a decay over its last `decay_fraction` from the
    trunk's state there (Hägele et al. 2024), so that the horizons share what comes before.
    """

    count: int | None = identity(None, gt=0, description="the same for all sizes")
    per_parameter: float | None = identity(None, gt=0, description="tokens per non-embedding parameter")
    flops: tuple[float, ...] | None = identity(None, min_length=1, description="budgets, each for every size")
    counts: tuple[int, ...] | None = identity(None, min_length=1, description="of a size, one run for each")
    branches: tuple[int, ...] | None = identity(None, min_length=1, description="horizons of one trunk")
    decay_fraction: float | None = identity(None, gt=0, lt=1, description="of each horizon; branches alone")

    @pydantic.model_validator(mode="after")
    def _one(self) -> Regime:
        given = [
            name for name in ("count", "per_parameter", "flops", "counts", "branches") if getattr(self, name)
        ]
        if len(given) != 1:
            raise ValueError(
                "give one of count, per_parameter, flops, counts and branches"
                + (f", not {' and '.join(given)}" if given else "")
            )
        for name in ("flops", "counts", "branches"):
            values = getattr(self, name) or ()
            if list(values) != sorted(set(values)) or any(value <= 0 for value in values):
                raise ValueError(
                    f"{name}: positive numbers from small to large, none twice, got {list(values)}"
                )
        if (self.decay_fraction is not None) != (self.branches is not None):
            raise ValueError("decay_fraction belongs to branches, and branches need it; 0.2 is common")
        return self

    @property
    def name(self) -> str:
        """The regime's name in plans and verdicts."""
        names = {
            "count": FIXED,
            "per_parameter": BY_SIZE,
            "flops": BY_FLOPS,
            "counts": GROWING,
            "branches": BRANCHED,
        }
        return next(name for key, name in names.items() if getattr(self, key))

    @property
    def words(self) -> str:
        """The regime for people."""
        if self.count:
            return f"{self.count:,} tokens at every size"
        if self.per_parameter:
            return f"{self.per_parameter:g} tokens for each non-embedding parameter"
        if self.flops:
            budgets = ", ".join(f"{budget:.3g}" for budget in self.flops)
            return f"every size at {budgets} FLOPs ({FLOPS_FORMULA})"
        if self.counts:
            return f"the same size at {', '.join(f'{count:,}' for count in self.counts)} tokens"
        horizons = ", ".join(f"{horizon:,}" for horizon in self.branches or ())
        share = f"{self.decay_fraction:.0%}"
        return f"a trunk at the peak rate, and a decay over the last {share} of {horizons} tokens"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A run that a regime asks for at a size, in tokens before they are whole batches.

    `decay_from` is where the rate begins to fall in a branch, and its end in a trunk's stretch; `after` the
    place, among those asked for together, of the one it goes on from.
    """

    tokens: int
    words: str
    budget: float | None = None
    decay_from: int | None = None
    is_trunk: bool = False
    after: int | None = None


def asked(regime: Regime, shape: GPTConfig, sequence_tokens: int) -> list[Asked]:
    """Return the runs of a regime at a size, each after the one it goes on from."""
    if regime.count:
        return [Asked(tokens=regime.count, words=f"{regime.count:,} tokens")]
    if regime.per_parameter:
        tokens = round(regime.per_parameter * parameters_non_embedding(shape))
        return [Asked(tokens=tokens, words=f"{regime.per_parameter:g} tokens per non-embedding parameter")]
    if regime.flops:
        each = flops_per_token(shape, sequence_tokens, FLOPS_FORMULA)
        return [
            Asked(tokens=round(budget / each), budget=budget, words=f"{budget:.3g} FLOPs")
            for budget in regime.flops
        ]
    if regime.counts:
        return [Asked(tokens=count, words=f"{count:,} tokens") for count in regime.counts]
    assert regime.branches and regime.decay_fraction
    return _trunk_and_branches(regime.branches, regime.decay_fraction)


def _trunk_and_branches(horizons: Sequence[int], decay_fraction: float) -> list[Asked]:
    """Return stretches of the trunk, each going on from the one before, and behind each its branch."""
    found: list[Asked] = []
    for place, horizon in enumerate(horizons):
        start = round(horizon * (1 - decay_fraction))
        found.append(
            Asked(
                tokens=start,
                words=f"trunk to {start:,} tokens",
                decay_from=start,
                is_trunk=True,
                after=2 * (place - 1) if place else None,
            )
        )
        found.append(
            Asked(
                tokens=horizon,
                words=f"branch of {horizon:,} tokens, decay from {start:,}",
                decay_from=start,
                after=2 * place,
            )
        )
    return found
