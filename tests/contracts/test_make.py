"""What the two commands do before they install anything."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def check_torch() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_torch", ROOT / ".ci" / "check_torch.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has CUDA builds on the package index")
def test_a_cuda_build_is_told_by_what_it_requires(check_torch: ModuleType) -> None:
    cuda = {"requires_dist": ["filelock", 'nvidia-cublas==13.1.0; platform_system == "Linux"']}

    assert check_torch.is_cuda(cuda)
    assert not check_torch.is_cuda({"requires_dist": ["filelock", "sympy>=1.13.3"]})


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has CUDA builds on the package index")
def test_a_cuda_build_without_a_gpu_stops_with_one_line(
    check_torch: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_torch, "has_gpu", lambda: False)
    monkeypatch.setattr(check_torch, "chosen_torch", lambda _: {"requires_dist": ["nvidia-cublas"]})
    monkeypatch.setattr(sys, "argv", ["check_torch.py", ""])

    with pytest.raises(SystemExit, match="make TORCH_INDEX=") as stopped:
        check_torch.main()
    assert "\n" not in str(stopped.value)


def test_ci_calls_the_test_command_of_the_readme() -> None:
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "make test"
    assert "\nmake test" in (ROOT / "README.md").read_text()


def test_make_knows_both_commands() -> None:
    for target in ("quickstart", "test"):
        done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
