"""The floors of the architecture hold: no torch where there may be no GPU."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WITH_TORCH = (
    "model.attention",
    "model.fused",
    "model.kernels.calls",
    "model.operators",
    "model.transformer",
    "model.heads",
    "model.generate",
    "model.weights",
    "model.lstm",
    "model.finetuned",
    "pipeline.trainer",
    "pipeline.train",
    "pipeline.evaluate",
    "pipeline.finetune",
)


def modules() -> list[str]:
    files = [file for package in ("model", "launch", "pipeline") for file in (ROOT / package).rglob("*.py")]
    names = [
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files
    ]
    return sorted(name for name in names if name != "pipeline.__main__")


def test_everything_but_training_and_evaluation_loads_without_torch() -> None:
    free = [name for name in modules() if not name.startswith(WITH_TORCH)]
    code = f"import importlib, sys\nfor name in {free!r}:\n    importlib.import_module(name)\n"
    code += "    assert 'torch' not in sys.modules, name"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)

    assert done.returncode == 0, done.stderr


def test_every_package_says_only_what_it_is_for() -> None:
    for file in [
        file for package in ("model", "launch", "pipeline") for file in (ROOT / package).rglob("__init__.py")
    ]:
        lines = file.read_text().strip().splitlines()
        assert lines[0].startswith('"""') and lines[-1].endswith('"""'), file
        assert file.read_text().count('"""') == 2, f"{file}: a docstring and nothing else"


def test_every_file_fits_its_purpose() -> None:
    for package in ("model", "launch", "pipeline"):
        for file in (ROOT / package).rglob("*.py"):
            assert len(file.read_text().splitlines()) <= 350, f"{file}: longer than a reader keeps in mind"
