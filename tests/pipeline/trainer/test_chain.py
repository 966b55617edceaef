"""One training run handed from engine to engine and from one number of processes to another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pipeline.trainer import tiny
from tests.pipeline.trainer.chain import STEPS, go_on
from tests.pipeline.trainer.groups import SINGLE, close, run_ranks

SINGLE_PROCESS = ("single", "", 1)
SHORT = [("deepspeed", "zero2", 2), SINGLE_PROCESS, ("fsdp2", "reshard", 2)]
LONG = [("deepspeed", "zero2", 2), ("fsdp2", "reshard", 4), SINGLE_PROCESS, ("deepspeed", "zero3", 2)]


def assert_chain_is_undisturbed(links: list[tuple[str, str, int]], folder: Path) -> None:
    found = []
    for number, (family, cell, world_size) in enumerate(links):
        step = number * STEPS
        if family == "single":
            go_on(SINGLE, step, folder)
        else:
            arguments = [family, cell, str(step), str(folder)]
            run_ranks("tests.pipeline.trainer.chain", arguments, world_size)
        found += json.loads((folder / str(step + STEPS) / "rows.json").read_text())

    close(found, tiny.take(tiny.build(SINGLE), range(STEPS * len(links))), tolerance=1e-5)


def test_a_run_goes_from_zero_2_on_two_processes_to_one_and_to_fsdp2_on_two(tmp_path):
    assert_chain_is_undisturbed(SHORT, tmp_path)


@pytest.mark.slow
def test_a_run_goes_from_zero_2_on_two_to_fsdp2_on_four_to_one_and_to_zero_3_on_two(tmp_path):
    assert_chain_is_undisturbed(LONG, tmp_path)
