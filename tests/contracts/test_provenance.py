"""Every value that decides what a training recipe gives says whose it is, on the line that sets it.

The grammar is told at the head of configs/train/gpt2-117m.yaml.
"""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.config import GPTConfig, parameters
from pipeline.composition import Composed, Where, compose
from pipeline.config import Schema, load, role
from pipeline.show import remark
from pipeline.train.stage import Config

ROOT = Path(__file__).parents[2]
RECIPES = sorted(str(file.relative_to(ROOT)) for file in (ROOT / "configs/train").glob("*.yaml"))

SOURCE = r"(?:(?:paper|released code) \(GPT-[123][,:] [^()]+\)|(?:reproduction|ours) \([^()]+\))"
PROVENANCE = re.compile(rf"(?:paper silent; )?{SOURCE}(?:; {SOURCE})*(?:$|[.;] )")

SIZES = {
    "gpt1-117m": ("117M", 116_534_784),
    "gpt2-117m": ("117M", 124_439_808),
    "gpt2-345m": ("345M", 354_823_168),
    "gpt2-762m": ("762M", 774_030_080),
    "gpt2-1542m": ("1542M", 1_557_611_200),
}


def decisive(value: Any, where: Where = ()) -> Iterator[tuple[Where, Any]]:
    """Yield the path and value of every field that decides the result; options left out are none."""
    if isinstance(value, Schema):
        for name in type(value).model_fields:
            if role(type(value), name) == "identity":
                yield from decisive(getattr(value, name), (*where, name))
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from decisive(getattr(value, field.name), (*where, field.name))
    elif value not in (None, ""):
        yield where, value


def provenance(composed: Composed, where: Where) -> str:
    """Return the comment on the line that sets a field; empty where the schema's default is in force."""
    return remark(composed.places.get(where, ""))


@pytest.mark.parametrize("name", RECIPES)
def test_every_value_of_a_recipe_says_whose_it_is(name: str) -> None:
    composed = compose(ROOT / name)
    fields = dict(decisive(load(Config, ROOT / name)))
    nameless = {
        ".".join(map(str, where)): provenance(composed, where) or "no comment, or left at the default"
        for where in fields
        if not PROVENANCE.match(provenance(composed, where))
    }

    assert len(fields) > 20
    assert not nameless


@pytest.mark.parametrize(
    ("comment", "is_enough"),
    [
        ("paper (GPT-2, section 2.3)", True),
        ("paper silent; reproduction (nanoGPT, llm.c). OpenAI's code has 0.01", True),
        ("paper (GPT-3, appendix B); reproduction (llm.c)", True),
        ("released code (GPT-1: max_grad_norm of fine-tuning); the paper is silent", True),
        ("ours (any would do)", True),
        ("paper silent", False),
        ("paper (section 2.3)", False),
        ("reproduction", False),
        ("ours", False),
        ("what everybody takes", False),
        ("", False),
    ],
)
def test_what_names_nobody_is_no_provenance(comment: str, is_enough: bool) -> None:
    assert bool(PROVENANCE.match(comment)) is is_enough


def test_a_field_left_at_its_default_is_found(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"from: {ROOT / 'configs/train/ladder.yaml'}\noptim: {{lr: 1.0}}\n")
    composed = compose(recipe)
    del composed.places[("seed",)]

    assert provenance(composed, ("seed",)) == ""
    assert provenance(composed, ("optim", "lr")) == ""
    assert PROVENANCE.match(provenance(composed, ("optim", "eps")))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("recipe", ["", "-paper"])
def test_every_size_has_a_common_recipe_and_its_papers(size: str, recipe: str) -> None:
    path = ROOT / f"configs/train/{size}{recipe}.yaml"
    config, (label, count) = load(Config, path), SIZES[size]

    assert isinstance(config.model, GPTConfig)
    assert (config.model.label, parameters(config.model)) == (label, count)
    for file in (path, ROOT / f"configs/model/{size}.yaml"):
        head = file.read_text(encoding="utf-8").partition("\nfrom")[0]
        assert label in head and f"{count:,}" in head, f"{file}: both names of the size belong at its head"


def test_the_papers_own_values_are_these() -> None:
    """From the papers' text: GPT-1 section 4.1, GPT-2 section 2.3; by hand, not from the recipes."""
    first = load(Config, ROOT / "configs/train/gpt1-117m-paper.yaml")
    second = load(Config, ROOT / "configs/train/gpt2-1542m-paper.yaml")

    assert (first.model.architecture, first.model.n_ctx, first.model.dropout) == ("gpt1", 512, 0.1)
    assert (first.optim.lr, first.optim.betas, first.optim.weight_decay) == (2.5e-4, (0.9, 0.999), 0.01)
    assert first.schedule.kind == "gpt1_cosine"
    assert (first.schedule.warmup_tokens, first.schedule.final_lr_fraction) == (2000 * 64 * 512, 0)
    assert first.global_batch_tokens == 64 * 512
    assert (second.model.architecture, second.model.n_ctx, second.model.position_std) == ("gpt2", 1024, 0.01)
    assert second.global_batch_tokens == 512 * 1024


def test_the_branch_of_the_trunk_decays_from_the_step_it_starts_from() -> None:
    trunk, branch = (
        load(Config, ROOT / f"configs/train/gpt2-117m-wsd{part}.yaml") for part in ("", "-decay")
    )
    assert branch.init is not None and branch.schedule.decay_tokens is not None
    seen = int(branch.init.checkpoint.name.removeprefix("step-")) * trunk.global_batch_tokens
    peak = trunk.optim.lr

    assert branch.init.checkpoint.parent == trunk.out / "checkpoints"
    assert seen == branch.train_tokens - branch.schedule.decay_tokens == 4 * branch.schedule.decay_tokens
    assert trunk.schedule.at(seen, trunk.train_tokens, peak) == peak
    assert branch.schedule.at(seen, branch.train_tokens, peak) == peak
    assert branch.schedule.at(branch.train_tokens, branch.train_tokens, peak) == 0
