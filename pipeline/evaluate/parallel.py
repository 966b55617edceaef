"""One evaluation by all processes of a job: the first one asks, every one answers a share.

Rank 0 reads the data, forms the batches and writes; the others hold the model and compute what they are
dealt. A batch is computed whole by one process, so replies are bitwise those of a process alone, where the
processes have as many threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from launch.environment import rank, world_size
from pipeline.evaluate.batch import Batch
from pipeline.evaluate.network import pick_device
from pipeline.evaluate.scorer import Scorer, in_order
from pipeline.evaluate.task import Reply, Request
from pipeline.trainer.collective import from_first, gathered, join, leave

Load = Callable[[Path], Scorer]


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Meet the other processes of the job, where there are any; collective.

    A process that fails does not take leave: the others find it gone, after it has said why.
    """
    if world_size() > 1:
        join(pick_device(device))
    yield
    leave()


class Team:
    """All processes of the job with one model, as a scorer; `load` makes that of a path, in each of them.

    Rank 0 asks, inside the context; the others `serve` until its end, which a failure of rank 0 is too. A
    process alone asks and answers.
    """

    def __init__(self, load: Load):
        self._load = load
        self._scorer: Scorer | None = None
        self._is_amid = False

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *failure: object) -> None:
        if not self._is_amid:  # else the others do not wait for this one's word
            from_first(None)

    def begin(self, path: Path) -> None:
        """Have every process load the weights at a path."""
        self._scorer = None  # its memory is free before the next one needs it
        from_first(path)
        self._is_amid = True
        self._scorer = self._load(path)
        self._is_amid = False

    def answer(self, requests: Sequence[Request]) -> list[Reply]:
        """Return the reply to each request, in their order, by the weights that were begun with."""
        assert self._scorer is not None, "begin was not called"
        formed = from_first(self._scorer.batches(requests))
        self._is_amid = True
        shares = gathered(self._share(self._scorer, formed))
        self._is_amid = False
        return in_order(formed, _dealt_back(shares, len(formed)))

    def serve(self) -> None:
        """Answer with the others until rank 0 has nothing more to ask."""
        scorer = None
        while (asked := from_first(None)) is not None:
            if isinstance(asked, Path):
                scorer = None
                scorer = self._load(asked)
            else:
                assert scorer is not None, "begin was not called"
                gathered(self._share(scorer, asked))

    @staticmethod
    def _share(scorer: Scorer, formed: Sequence[Batch]) -> list[list[Reply]]:
        """Return this process's answers. Batches come by length, so every n-th is a like share for each."""
        return [scorer.answer_batch(batch) for batch in formed[rank() :: world_size()]]


def _dealt_back(shares: Sequence[Sequence[list[Reply]]], count: int) -> Iterator[list[Reply]]:
    """Yield the answers of all processes in the order of the batches."""
    for number in range(count):
        yield shares[number % len(shares)][number // len(shares)]
