"""The data stage's phases, each against the bare loop or the peer in the same run; and how their cost grows.

    python -m benchmarks.data [--only links,dedup] [--scale 0.2] [--growth] [--out FILE.json]

`--scale` shrinks or enlarges the inputs; `--growth` times every phase at 1, 4 and 16 times the documents.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
from pathlib import Path
from typing import Any

PARTS = ("links", "fetch", "extract", "dedup", "tokenize")


def main() -> None:
    """Measure what was asked for, print a line for each and write them as JSON if asked."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--only", type=lambda text: text.split(","), default=PARTS, help=", ".join(PARTS))
    arguments.add_argument("--scale", type=float, default=1.0)
    arguments.add_argument("--growth", action="store_true")
    arguments.add_argument("--out", type=Path)
    chosen = arguments.parse_args()
    rows = growth(chosen.scale) if chosen.growth else ratios(chosen.only, chosen.scale)
    if chosen.out:
        machine = {
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
        }
        chosen.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


def ratios(parts: list[str] | tuple[str, ...], scale: float) -> list[dict[str, Any]]:
    """Print and return the rows of these phases."""
    rows = []
    for part in parts:
        for ratio in importlib.import_module(f"benchmarks.phases.{part}").measure(scale):
            print(ratio, flush=True)
            rows.append(ratio.to_json())
    return rows


def growth(scale: float) -> list[dict[str, Any]]:
    """Print and return time and peak memory of every phase at growing sizes."""
    from benchmarks.phases import growth as growing

    rows = growing.measure(scale)
    print(growing.table(rows))
    return rows


if __name__ == "__main__":
    main()
