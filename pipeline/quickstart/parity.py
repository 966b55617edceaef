"""Twenty steps of one model under two engines: how far apart are their losses?"""

from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import StageError
from pipeline.formats.publish import write_json
from pipeline.formats.run import Run

NAME = "parity.json"
SINGLE, ZERO = "single", "deepspeed_zero2_2_processes"


def commands(configs: Path, data: Path, out: Path) -> Iterator[tuple[str | Path, ...]]:
    """Yield the words of the two training commands: one process, then DeepSpeed ZeRO-2 on two."""
    config = configs / "train" / "quickstart-parity.yaml"
    yield ("train", config, f"data={data}", f"out={out / SINGLE}")
    zero = configs / "engine" / "deepspeed-zero2.yaml"
    yield (
        *("train", config, f"data={data}", f"out={out / ZERO}", f"engine={{from: {zero}}}"),
        *("--on", configs / "launch" / "torchrun.yaml"),
    )


def compare(out: Path, result: Path) -> str:
    """Write the losses of both runs and their largest difference, and return a sentence on it."""
    losses = {
        name: [row["loss"] for row in Run(out / name).rows() if "loss" in row] for name in (SINGLE, ZERO)
    }
    steps = len(losses[SINGLE])
    if not steps or len(losses[ZERO]) != steps:
        raise StageError(f"{out}: {steps} steps against {len(losses[ZERO])}; delete it and run again")
    largest = max(abs(one - other) for one, other in zip(losses[SINGLE], losses[ZERO], strict=True))
    write_json(result, {"steps": steps, **losses, "largest_difference": largest})
    return f"{steps} steps, one process and DeepSpeed ZeRO-2 on two: losses differ by at most {largest:.1e}"
