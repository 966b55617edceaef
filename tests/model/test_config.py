"""The counts that follow from a shape, against the papers' sizes."""

from pathlib import Path

import pytest
import yaml

from model.config import (
    GPTConfig,
    describe,
    flops_per_token,
    parameters,
    parameters_non_embedding,
)

CONFIGS = Path(__file__).parents[2] / "configs" / "model"
SIZES = {
    "gpt2-117m": (124_439_808, 85_056_000),
    "gpt2-345m": (354_823_168, 302_311_424),
    "gpt2-762m": (774_030_080, 708_390_400),
    "gpt2-1542m": (1_557_611_200, 1_475_561_600),
}


@pytest.mark.parametrize("name", SIZES)
def test_the_shipped_sizes_have_the_true_counts_of_the_papers_models(name):
    config = GPTConfig(**yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()))

    assert (parameters(config), parameters_non_embedding(config)) == SIZES[name]
    assert config.label == name.removeprefix("gpt2-").upper()


@pytest.mark.parametrize(
    ("formula", "gigaflops"),
    [("6N", 0.746638848), ("6N_matmul + 6LdT", 0.797815296), ("6N_matmul + 12LdT", 0.8544384)],
)
def test_flops_of_the_smallest_gpt2_agree_with_sums_made_by_hand(formula, gigaflops):
    config = GPTConfig(n_layer=12, n_head=12, n_embd=768)

    assert flops_per_token(config, 1024, formula) == round(gigaflops * 1e9)


def test_both_names_of_a_size_are_told():
    named = describe(GPTConfig(n_layer=12, n_head=12, n_embd=768, label="117M"))

    assert named.startswith("GPT-2 117M (124,439,808 parameters")
    gpt1 = GPTConfig(
        architecture="gpt1", n_layer=12, n_head=12, n_embd=768, n_ctx=512, vocab_size=40478, label="117M"
    )
    assert describe(gpt1).startswith("GPT-1 117M (116,534,784 parameters")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_head": 5}, "n_embd (64) must be a multiple of n_head (5)"),
        ({"n_layer": 0}, "n_layer is 0, but must be at least 1"),
        ({"n_embd": 1 << 70}, "n_embd is 1180591620717411303424, but must be at most 16,777,216"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"architecture": "gpt3"}, "architecture is 'gpt3', but must be one of gpt2, gpt1"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_with_its_value(wrong, message):
    with pytest.raises(ValueError) as refused:
        GPTConfig(**{"n_layer": 2, "n_head": 4, "n_embd": 64, **wrong})

    assert message in str(refused.value)
