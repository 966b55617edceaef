"""The kernels' sources compiled, once for each machine: what is made is kept in the user's cache.

They need a C++ compiler with OpenMP and gcc's vectors. Where there is none one warning is given, and
PyTorch's own operators do the work.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

FLAGS = (
    *("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC"),
    # Products are fused with sums; nothing is assumed of NaN and infinity.
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
)


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled kernels, after compiling them if need be (2 s); None where that does not work."""
    sources, compiler = _sources(), os.environ.get("CXX") or "g++"
    about = repr((sources, shutil.which(compiler) or compiler, FLAGS, platform.machine(), _processor()))
    kept = _cache() / f"kernels-{hashlib.sha256(about.encode()).hexdigest()[:16]}.so"
    with contextlib.suppress(OSError):  # not there, or damaged
        return ctypes.CDLL(str(kept))
    try:
        with tempfile.TemporaryDirectory() as folder:
            made = _compile(compiler, sources, Path(folder))
            _keep(made, kept)
            return ctypes.CDLL(str(made))
    except (OSError, subprocess.CalledProcessError) as fault:
        said = getattr(fault, "stderr", None) or fault
        warnings.warn(
            f"small models will train more slowly, as their kernels could not be compiled: {said}; they need"
            " g++ (apt install g++), or another compiler named in CXX",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "loglinear"


def _keep(made: Path, kept: Path) -> None:
    """Put what was compiled into the cache, if there is room for one; others may do so at the same time."""
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = kept.with_suffix(f".{os.getpid()}")
        shutil.copyfile(made, draft)
        draft.replace(kept)


def _sources() -> dict[str, str]:
    """Return the text of each source, by name; the package may lie in an archive."""
    files = sorted(resources.files("model.kernels").iterdir(), key=lambda file: file.name)
    return {file.name: file.read_text() for file in files if file.name.endswith((".h", ".cpp"))}


def _compile(compiler: str, sources: Mapping[str, str], folder: Path) -> Path:
    """Return the library that a compiler makes of the sources in a folder of their own."""
    for file, text in sources.items():
        (folder / file).write_text(text)
    # As one unit what they share is compiled once.
    unit = "".join(f'#include "{file}"\n' for file in sources if file.endswith(".cpp"))
    command = [compiler, *FLAGS, "-x", "c++", "-I.", "-", "-o", "kernels.so"]
    subprocess.run(command, cwd=folder, input=unit, capture_output=True, text=True, check=True)
    return folder / "kernels.so"


def _processor() -> str:
    """Return what this processor can do: a home directory may serve machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
