from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.duplicates import order as ordering
from pipeline.data.duplicates.describe import Describe, Described
from pipeline.data.duplicates.order import Decisions, Order, write_order
from pipeline.errors import StageError
from tests.pipeline.data.conftest import document


def described(folder: Path, texts: list[tuple[int, int]]) -> Described:
    """Describe documents of given karma and length, three to a file."""
    documents = [document(f"{n}", "x" * length, karma=karma) for n, (karma, length) in enumerate(texts)]
    files = range(0, max(1, len(documents)), 3)
    for rank, first in enumerate(files):
        Describe(folder, None, paragraphs=False)(documents[first : first + 3], rank, len(files))
    return Described.read(folder, len(files))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(-2, 3), st.integers(0, 2)), max_size=10), st.integers(0, 4))
def test_documents_are_ordered_by_karma_length_and_id_after_those_of_earlier_datasets(
    tmp_path_factory, texts: list[tuple[int, int]], earlier: int
):
    folder = tmp_path_factory.mktemp("order")
    order = Order(folder / "order", earlier)

    write_order(described(folder / "described", texts), order, "1GB")

    ids = [document(f"{n}", "").id for n in range(len(texts))]
    expected = sorted(range(len(texts)), key=lambda n: (n >= earlier, -texts[n][0], -texts[n][1], ids[n]))
    assert order.rows.tolist() == expected
    assert [order.places[row] for row in order.rows] == list(range(len(texts)))
    assert [f"{high:016x}{low:016x}" for high, low in order.ids.tolist()] == [ids[n] for n in expected]


def test_more_documents_than_have_numbers_are_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(ordering, "MOST_DOCUMENTS", 2)

    with pytest.raises(StageError, match="3 documents are more than"):
        write_order(described(tmp_path / "described", [(1, 1)] * 3), Order(tmp_path / "order", 0), "1GB")

    assert not (tmp_path / "order").exists()


def test_no_room_to_sort_is_told_with_the_remedy(tmp_path: Path):
    order = Order(tmp_path / "order", 0)

    with pytest.raises(StageError, match=r"no room to sort 3 documents.*300KB of dedup\.memory_limit"):
        write_order(described(tmp_path / "described", [(1, 1)] * 3), order, "300KB")

    assert not order.folder.exists()


def test_decisions_are_what_was_decided(tmp_path: Path):
    first = Decisions.begin(tmp_path / "first", 3)
    first.drop([2], "exact", [0])
    second = Decisions.begin(tmp_path / "second", 3)
    second.take(first)
    second.drop(1, "near", 0)

    found = Decisions.read(tmp_path / "second")

    assert [ordering.REASONS[code] for code in found.codes] == ["", "near", "exact"]
    assert found.keepers.tolist() == [0, 0, 0]
