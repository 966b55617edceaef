"""One model, every engine, the same steps: each cell on two or four processes against `single` on one."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.pipeline.trainer import tiny
from tests.pipeline.trainer.cells import cells_of
from tests.pipeline.trainer.groups import SINGLE, close, run_family

# Gradients of weights are rounded to bf16 on each process, of other rows than `single` rounds at once: each
# by 2^-9 of itself at most, and a norm below 1 by no more than that. The steps before add theirs; what four
# steps gave is 1e-3 in the norm and 4e-4 in losses near 4.6.
BF16_BOUND = 2**-8

two = [pytest.param(2, family, cell, id=f"{cell}-2") for family, cell in cells_of(2)]
four = [pytest.param(4, family, cell, id=f"{cell}-4", marks=pytest.mark.slow) for family, cell in cells_of(4)]
each_cell = pytest.mark.parametrize(("world_size", "family", "cell"), two + four)
Groups = Callable[[str, int], tuple[Path, dict]]


@pytest.fixture(scope="session")
def groups(tmp_path_factory) -> Groups:
    """Return a family's folder and findings on so many processes, started when first asked for."""

    @functools.cache
    def group(family: str, world_size: int) -> tuple[Path, dict]:
        folder = tmp_path_factory.mktemp(family)
        return folder, run_family(family, folder, world_size)

    return group


@functools.cache
def of_single(accumulation: int = 1, documents: bool = False, precision: str = "fp32", **shape):
    """Return the rows and the weights of the steps that `single` takes."""
    engine = tiny.build(SINGLE, precision=precision, **shape)
    rows = tiny.take(engine, range(4), accumulation=accumulation, documents=documents)
    return rows, engine.weights()


def assert_same_weights(file: Path, expected: dict) -> None:
    found = torch.load(file)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name], tensor, atol=1e-5, rtol=0, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.mark.parametrize("accumulation", [1, 3])
@each_cell
def test_several_processes_take_the_steps_of_one_to_the_same_weights(
    groups, world_size, family, cell, accumulation
):
    folder, found = groups(family, world_size)
    rows, weights = of_single(accumulation)

    close(found[cell][f"accumulation {accumulation}"], rows)
    assert_same_weights(folder / cell / f"weights-accumulation {accumulation}", weights)


@each_cell
def test_every_engine_skips_the_same_bad_steps_and_goes_on_alike(groups, world_size, family, cell):
    objective = tiny.Faulty()
    engine = tiny.build(SINGLE, objective)
    expected = tiny.take_with_faults(engine, objective)
    folder, found = groups(family, world_size)
    rows = found[cell]["faults"]

    assert [row[3] for row in rows] == tiny.APPLIED
    close([row for row in rows if row[3]], [row for row in expected if row[3]])
    for step in tiny.FAULTS:
        assert math.isfinite(rows[step][0]) == math.isfinite(expected[step][0])
        assert math.isnan(rows[step][1]) and math.isnan(expected[step][1])
    close([rows[tiny.SPIKE]], [expected[tiny.SPIKE]])
    assert_same_weights(folder / cell / "weights-faults", engine.weights())


@each_cell
def test_a_state_saved_by_single_goes_on_under_an_engine_and_back(groups, world_size, family, cell):
    folder, found = groups(family, world_size)
    undisturbed = tiny.take(tiny.build(SINGLE), range(6))
    back = tiny.build(SINGLE)
    back.load_state(folder / cell / "state")

    close(found[cell]["resumed"], undisturbed[2:4])
    close(tiny.take(back, [4, 5]), undisturbed[4:])


@each_cell
def test_a_state_saved_and_loaded_by_the_same_engine_continues_bitwise_even_with_dropout(
    groups, world_size, family, cell
):
    whole, halves = groups(family, world_size)[1][cell]["bitwise"]

    assert halves == whole


@each_cell
def test_validation_over_several_processes_is_that_of_one_and_logits_too(groups, world_size, family, cell):
    folder, found = groups(family, world_size)
    engine = tiny.build(SINGLE)
    engine.load_state(folder / cell / "state")
    (batch,) = tiny.batches(9, 0, 1, 1)
    (loss,) = engine.loss(batch).values()

    assert found[cell]["validation"][0] == pytest.approx(loss.sum, rel=1e-5)
    assert found[cell]["validation"][1] == loss.count
    assert found[cell]["logits"] == pytest.approx(
        float(engine.predict(batch).double().pow(2).sum()), rel=1e-5
    )


@each_cell
def test_bf16_products_stay_within_their_rounding(groups, world_size, family, cell):
    close(
        groups(family, world_size)[1][cell]["bf16"], of_single(3, precision="bf16")[0], tolerance=BF16_BOUND
    )


@each_cell
def test_recomputed_activations_give_the_same_steps(groups, world_size, family, cell):
    close(groups(family, world_size)[1][cell]["recomputing"], of_single()[0][:3])


@each_cell
def test_attention_inside_documents_is_the_same_under_every_engine(groups, world_size, family, cell):
    masked = of_single(documents=True)[0][:3]

    assert masked != of_single()[0][:3]
    close(groups(family, world_size)[1][cell]["documents"], masked)


@each_cell
def test_gpt1_takes_the_same_steps_under_every_engine(groups, world_size, family, cell):
    close(groups(family, world_size)[1][cell]["gpt1"], of_single(3, architecture="gpt1")[0][:3])


@pytest.mark.slow
@pytest.mark.parametrize("family", ["offload", "compiled"])
def test_offloaded_and_compiled_engines_take_the_steps_of_one(tmp_path, family):
    found = run_family(family, tmp_path, world_size=2)

    for cell in found:
        for accumulation in (1, 3):
            rows, weights = of_single(accumulation)
            close(found[cell][f"accumulation {accumulation}"], rows)
            assert_same_weights(tmp_path / cell / f"weights-accumulation {accumulation}", weights)
        assert [row[3] for row in found[cell]["faults"]] == tiny.APPLIED
        if family == "offload":
            assert found[cell]["bitwise"][0] == found[cell]["bitwise"][1]
