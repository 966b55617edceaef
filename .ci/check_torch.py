"""Stop before a CUDA build of torch is downloaded to a machine without a GPU.

Asks pip which torch it would take under constraints.txt (nothing is installed) and looks at what that wheel
requires. Usage: check_torch.py [INDEX of CPU wheels]
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

NVIDIA = ("nvidia-", "cuda-")
REMEDY = (
    "this machine has no GPU, but pip would take a CUDA build of torch (gigabytes): "
    "run make TORCH_INDEX=<URL of PyTorch's CPU wheel index> ..., as PyTorch's installation page shows it"
)


def main() -> None:
    """Exit with one line if the torch that pip would take does not fit this machine."""
    if has_gpu() or not is_cuda(chosen_torch(sys.argv[1] if len(sys.argv) > 1 else "")):
        return
    sys.exit(REMEDY)


def has_gpu() -> bool:
    """Tell whether an NVIDIA driver is at work here."""
    return (
        shutil.which("nvidia-smi") is not None
        and subprocess.run(["nvidia-smi"], capture_output=True).returncode == 0
    )


def chosen_torch(index: str) -> dict[str, object]:
    """Return the metadata of the torch that pip would install."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--quiet",
        "--ignore-installed",
        "--no-deps",
    ]
    command += ["--report", "-", "-c", str(Path(__file__).parents[1] / "constraints.txt"), "torch"]
    command += ["--extra-index-url", index] if index else []
    report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    metadata: dict[str, object] = json.loads(report)["install"][0]["metadata"]
    return metadata


def is_cuda(metadata: dict[str, object]) -> bool:
    """Tell a CUDA build by its requirements, which hold NVIDIA's libraries; only Linux has such."""
    requirements = metadata.get("requires_dist", [])
    assert isinstance(requirements, list)
    return sys.platform == "linux" and any(line.lower().startswith(NVIDIA) for line in requirements)


if __name__ == "__main__":
    main()
