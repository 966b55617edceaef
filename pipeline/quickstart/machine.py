"""What the quickstart ran on, how long each leg took and how much memory it held."""

import importlib.metadata
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from launch.environment import available_cpus
from pipeline.formats.publish import read_json, write_json

PACKAGES = (
    "torch",
    "deepspeed",
    "datatrove",
    "tiktoken",
    "tokenizers",
    "numpy",
    "scipy",
    "duckdb",
    "aiohttp",
)
SAMPLE_SECONDS = 0.5


class Legs:
    """The seconds and peak memory of each leg, kept in a file; a leg that was killed adds up."""

    def __init__(self, path: Path):
        self._path = path
        self.records: dict[str, dict[str, float]] = read_json(path) if path.exists() else {}

    @contextmanager
    def measured(self, name: str, record: bool = True) -> Iterator[None]:
        """Note how long a leg takes and the most memory that this process and its children hold."""
        start, peak, stop = time.monotonic(), [0], threading.Event()
        watcher = threading.Thread(target=_watch, args=(peak, stop), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()
            if record:
                earlier = self.records.get(name, {"seconds": 0.0, "peak_memory_bytes": 0})
                self.records[name] = {
                    "seconds": earlier["seconds"] + time.monotonic() - start,
                    "peak_memory_bytes": max(earlier["peak_memory_bytes"], peak[0]),
                }
                write_json(self._path, self.records)


def describe(legs: Legs) -> dict[str, Any]:
    """Return the machine, the versions of what mattered and the record of the legs."""
    return {
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": _processor(),
            "cpus": available_cpus(),
            "memory_bytes": psutil.virtual_memory().total,
        },
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        "stages": [{"name": name, **record} for name, record in legs.records.items()],
        "total_seconds": sum(record["seconds"] for record in legs.records.values()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _watch(peak: list[int], stop: threading.Event) -> None:
    """Keep the largest sum of resident memory seen; memory shared by processes counts in each."""
    this = psutil.Process(os.getpid())
    while not stop.wait(SAMPLE_SECONDS):
        total = 0
        for process in [this, *this.children(recursive=True)]:
            try:
                total += process.memory_info().rss
            except psutil.Error:  # it has just ended
                continue
        peak[0] = max(peak[0], total)
