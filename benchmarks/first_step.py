"""Seconds from `loglinear train` to the end of its first step: GPT-2 117M on a CPU, engine single, eager.

    python -m benchmarks.first_step [--runs N] [--threads N] [--imports N] [--out FILE.json]

The real command is started on a small dataset and ended when the first row stands in its metrics.jsonl. The
step has 512 tokens. `--imports` prints the packages whose import takes longest, in milliseconds of their own.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.training.machine import machine
from model import tokenizer
from pipeline.formats.manifest import Manifest
from pipeline.formats.shards import ShardWriter

CONFIG = Path(__file__).parents[1] / "configs" / "train" / "gpt2-117m.yaml"
SETTINGS = (
    "engine={kind: single, device: cpu}",
    "precision=fp32",
    "sequence_tokens=256",
    "global_batch_tokens=512",
    "micro_batch_sequences=2",
    "train_tokens=5120",
    "schedule.warmup_tokens=0",
    "validation.every_steps=0",
    "checkpoint.every_steps=0",
    "samples.every_steps=0",
)
SOURCES = 40
GOAL_SECONDS = 10.0
PATIENCE_SECONDS = 300.0
_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+([\w.]+)")


def main() -> None:
    """Measure, print, and write the figures as JSON if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, help="compute threads; default: what the environment says")
    parser.add_argument("--imports", type=int, default=12, help="packages to print")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "dataset"
        write(dataset)
        seconds = [first_step(dataset, Path(folder) / f"run-{n}", chosen.threads) for n in range(chosen.runs)]
    median = statistics.median(wall for wall, _ in seconds)
    told = "met" if median < GOAL_SECONDS else "MISSED"
    for wall, processor in seconds:
        print(f"first step after {wall:.1f} s ({processor:.1f} s of processors)")
    print(f"median {median:.1f} s, goal {GOAL_SECONDS:.0f}: {told}; packages by the time of their import:")
    imports = imports_of(chosen.imports)
    for package, milliseconds in imports.items():
        print(f"    {milliseconds:7.0f} ms  {package}")
    if chosen.out:
        found = {
            "machine": machine(),
            "wall_and_processor_seconds": seconds,
            "goal": GOAL_SECONDS,
            "imports_ms": imports,
        }
        chosen.out.write_text(json.dumps(found, indent=2) + "\n")


def first_step(dataset: Path, out: Path, threads: int | None = None) -> tuple[float, float]:
    """Return the seconds until the first row is there, and the processors'; the command is then ended."""
    settings = [*SETTINGS, f"data={dataset}", f"out={out}"]
    if threads:
        settings.append(f"engine.threads={threads}")
    before, start = processor_seconds(), time.perf_counter()
    with tempfile.TemporaryFile() as output:
        command = [sys.executable, "-m", "pipeline", "train", str(CONFIG), *settings]
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            found = wait_for_row(child, out / "metrics.jsonl")
            seconds = time.perf_counter() - start
        finally:
            child.kill()
            child.wait()
        if found:
            return seconds, processor_seconds() - before
        output.seek(0)
        sys.exit(f"no first step:\n{output.read().decode(errors='replace')}")


def wait_for_row(child: subprocess.Popen[bytes], rows: Path) -> bool:
    """Tell whether the first row came before the command ended or patience did."""
    until = time.perf_counter() + PATIENCE_SECONDS
    while time.perf_counter() < until and child.poll() is None:
        if rows.is_file() and b'"loss"' in rows.read_bytes():
            return True
        time.sleep(0.02)
    return False


def processor_seconds() -> float:
    """Return what ended children have used so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def imports_of(most: int) -> dict[str, float]:
    """Return the milliseconds that importing what `train` needs takes, by package, the slowest first."""
    code = "import pipeline.cli, pipeline.train.loop, pipeline.trainer.single"
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True
    ).stderr
    own: Counter[str] = Counter()
    for microseconds, module in _IMPORT.findall(told):
        parts = module.split(".")
        own[".".join(parts[:2]) if parts[0] == "torch" else parts[0]] += int(microseconds)
    return {package: microseconds / 1e3 for package, microseconds in own.most_common(most)}


def write(dataset: Path) -> None:
    """Write a dataset of some sources of Python's library in GPT-2's tokens."""
    gpt2 = tokenizer.gpt2()
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:SOURCES]
    texts = [source.read_text(encoding="utf-8", errors="replace") for source in sources]
    (dataset / "shards").mkdir(parents=True)
    gpt2.save(dataset)
    splits = {}
    for split, part in (("train", texts[4:]), ("validation", texts[:4])):
        writer = ShardWriter(dataset / "shards" / f"{split}.ds", "uint16")
        for ids in gpt2.encode_batch(part):
            writer.write([*ids, gpt2.eot_id])
        splits[split] = (writer.close(),)
    Manifest(
        tokenizer=gpt2.name,
        tokenizer_fingerprint=gpt2.fingerprint,
        vocab_size=gpt2.vocab_size,
        dtype="uint16",
        eot_id=gpt2.eot_id,
        splits=splits,
        text_bytes={"train": sum(len(text.encode()) for text in texts[4:]), "validation": 0},
    ).write(dataset)


if __name__ == "__main__":
    main()
