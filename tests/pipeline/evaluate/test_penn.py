"""Sentences in tokens and as they are written."""

import pytest

from pipeline.evaluate.penn import as_written


@pytest.mark.parametrize(
    ("tokens", "written"),
    [
        ("` Do n't ! ' said he .", "'Don't!' said he."),
        ("`` They 'll come , '' she said ; `` wo n't you ? ''", '"They\'ll come," she said; "won\'t you?"'),
        ("the dogs ' tails -LRB- both -RRB- wagged", "the dogs' tails (both) wagged"),
        ('he cried " stop " , twice', 'he cried "stop", twice'),
        ("it cost $ 5 : 10 % more ...", "it cost $5: 10% more..."),
        ("Johnny XXXXX looked -- up", "Johnny XXXXX looked -- up"),
        ("and ` XXXXX ' said", "and 'XXXXX' said"),
        ("", ""),
    ],
)
def test_marks_go_where_people_write_them(tokens, written):
    assert as_written(tokens) == written


def test_only_blanks_and_marks_change():
    tokens = "` I saw him . ' -LRB- He 's late , is n't he ? -RRB-"

    assert as_written(tokens).replace(" ", "") == tokens.replace(" ", "").replace("`", "'").replace(
        "-LRB-", "("
    ).replace("-RRB-", ")")
