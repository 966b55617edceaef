"""How much of each evaluation set stands elsewhere: the table like Table 6 of the GPT-2 paper.

A percentage is the share of the set's n-grams, each as often as it occurs, that the other text contains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data.contamination.heldout import HeldOut, texts_of
from pipeline.formats.bloom import Bloom
from pipeline.formats.publish import publishing


def overlap_table(held_out: HeldOut, index: Path, hits: Path, own: Path) -> dict[str, dict[str, float]]:
    """Return for each set its n-grams and the percentage of them that the training documents held before
    (`hits`) and hold after, and that the set's own training set holds (below `own`, if it has one).
    """
    before, after = np.zeros((2, len(held_out.grams)), dtype=bool)
    for path in sorted(hits.glob("*.npz")):
        found = np.load(path)
        before[found["before"]] = True
        after[found["after"]] = True
    table: dict[str, dict[str, float]] = {}
    for name, places, counts in held_out.occurrences(index):
        row: dict[str, float] = {"ngrams": int(counts.sum()), "distinct": len(counts)}
        row["percent_before"] = _percent(before[places], counts)
        row["percent_after"] = _percent(after[places], counts)
        if (own / name).is_dir():
            row["percent_own_training"] = _percent(_seen(own / name, len(before))[places], counts)
        table[name] = row
    return table


def add_bloom(table: dict[str, dict[str, float]], built: Bloom, held_out: HeldOut, index: Path) -> None:
    """Add to each row the percentage that the filter of the training documents says it holds after."""
    for name, places, counts in held_out.occurrences(index):
        table[name]["percent_bloom"] = _percent(built.contains(held_out.grams[places]), counts)


def told(table: Mapping[str, Mapping[str, float]], ngram: int) -> str:
    """Return the table for people, like Table 6 of the GPT-2 paper."""
    columns = {
        "ngrams": f"{ngram}-grams",
        "percent_own_training": "own training %",
        "percent_before": "corpus %",
        "percent_after": "after removal %",
        "percent_bloom": "Bloom filter %",
    }
    used = [key for key in columns if any(key in row for row in table.values())]
    lines = [f"{'overlap':<20}" + "".join(f"{columns[key]:>18}" for key in used)]
    for name, row in table.items():
        cells = [
            f"{row[key]:,}" if key == "ngrams" else f"{row[key]:.2f}" if key in row else "" for key in used
        ]
        lines.append(f"{name:<20}" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join(lines)


def _percent(found: npt.NDArray[np.bool_], counts: npt.NDArray[np.int64]) -> float:
    return round(100 * float(counts[found].sum()) / max(1, int(counts.sum())), 3)


def _seen(folder: Path, grams: int) -> npt.NDArray[np.bool_]:
    seen = np.zeros(grams, dtype=bool)
    for path in folder.glob("*.npy"):
        seen[np.load(path)] = True
    return seen


@dataclass
class SeekInTraining:
    """A pipeline's only step: which held-out n-grams stand in training file number `rank` of some set."""

    files: Sequence[tuple[str, Path]]  # the set's name and the file
    index: Path
    ngram: int
    found: Path

    def __call__(self, _data: Any, rank: int, _world_size: int) -> None:
        """Write the places of those n-grams."""
        name, path = self.files[rank]
        held_out = HeldOut.read(self.index, self.ngram)
        seen = np.zeros(len(held_out.grams), dtype=bool)
        for text in texts_of(path):
            seen[held_out.look_up([text]).places] = True
        with publishing(self.found / name / f"{rank:05d}.npy") as draft, draft.open("wb") as file:
            np.save(file, np.flatnonzero(seen))
