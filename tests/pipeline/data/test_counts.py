import pytest

from pipeline.data.counts import PhaseCounts
from pipeline.errors import StageError


def test_an_account_that_balances_passes():
    PhaseCounts(documents_in=5, documents_out=3, dropped={"short": 2}).check("filter")


def test_a_lost_document_is_an_error_that_names_the_phase_and_the_numbers():
    with pytest.raises(StageError, match="filter: 5 came in, but 3 kept and 1 dropped make 4"):
        PhaseCounts(documents_in=5, documents_out=3, dropped={"short": 1}).check("filter")


def test_json_and_back_is_the_same_account():
    counts = PhaseCounts(documents_in=5, documents_out=3, dropped={"b": 1, "a": 1}, extra={"bytes_out": 7})

    assert PhaseCounts.from_json(counts.to_json()) == counts
