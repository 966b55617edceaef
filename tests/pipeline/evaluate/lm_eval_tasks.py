"""Files in lm-eval's format for tests: its own tasks, with only the place of the data changed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LOCAL = """
dataset_path: json
dataset_name: null
dataset_kwargs:
  data_files: {{train: {rows}, validation: {rows}, test: {rows}}}
  cache_dir: {cache}
"""


def of_its_own(folder: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Return a task of lm-eval's own, by its file below its folder of tasks, over rows of ours."""
    import lm_eval

    own = Path(lm_eval.__file__).parent / "tasks" / f"{name}.yaml"
    return written(folder, own.stem, f"include: {own}\n", rows)


def written(folder: Path, name: str, text: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Return the file of a task, by its text without its data."""
    data = folder / f"{name}.jsonl"
    data.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    path = folder / f"{name}.yaml"
    path.write_text(text + LOCAL.format(rows=data, cache=folder / "cache"))
    return path
