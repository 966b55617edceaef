"""How the kernels are compiled and kept, and what is done where they cannot be."""

import os
import subprocess
import sys

import pytest

from model.kernels.build import library


@pytest.fixture(autouse=True, scope="module")
def compiler():
    """Skip where there is no compiler."""
    if library() is None:
        pytest.skip("the kernels want a C++ compiler")


STEP = """
import torch
from model.config import GPTConfig
from model.transformer import GPT
torch.manual_seed(0)
model = GPT(GPTConfig(n_layer=2, n_head=2, n_embd=32, n_ctx=16, vocab_size=50))
ids = torch.arange(32).view(2, 16)
model(ids, ids + 1).backward()
print(float(sum(parameter.grad.norm() ** 2 for parameter in model.parameters()) ** 0.5))
"""


def step(**environment):
    return subprocess.run(
        [sys.executable, "-c", STEP], env=os.environ | environment, capture_output=True, text=True, check=True
    )


def test_without_a_compiler_the_same_is_computed_after_one_warning(tmp_path):
    with_kernels = step(XDG_CACHE_HOME=str(tmp_path / "with"))
    assert "Warning" not in with_kernels.stderr
    assert [path.suffix for path in (tmp_path / "with" / "loglinear").iterdir()] == [".so"]

    without = step(XDG_CACHE_HOME=str(tmp_path / "without"), CXX="no-such-compiler")
    assert without.stderr.count("RuntimeWarning") == 1
    assert "no-such-compiler" in without.stderr
    assert "apt install g++" in without.stderr
    assert float(with_kernels.stdout) == pytest.approx(float(without.stdout), rel=1e-5)


def test_a_damaged_or_read_only_cache_is_no_obstacle(tmp_path):
    folder = tmp_path / "loglinear"
    step(XDG_CACHE_HOME=str(tmp_path))
    (kept,) = folder.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:100])
    assert "Warning" not in step(XDG_CACHE_HOME=str(tmp_path)).stderr
    assert kept.read_bytes() == whole
    (tmp_path / "file").touch()
    assert "Warning" not in step(XDG_CACHE_HOME=str(tmp_path / "file")).stderr
