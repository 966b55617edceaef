import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.quickstart.site.docstring import Block, blocks_of

NUMPYDOC = """Return the norm.

It is one of eight, see [1]_.

Parameters
----------
x : array_like
    Input.

    Two paragraphs.
axis : int, optional
    Where.

See Also
--------
dot : The product,
    of two.

Examples
--------
>>> norm([3, 4])
5.0

References
----------
.. [1] A book.
"""


def test_a_docstring_of_numpys_kind_becomes_headings_terms_references_and_code():
    assert list(blocks_of(NUMPYDOC)) == [
        Block("paragraph", "Return the norm."),
        Block("paragraph", "It is one of eight, see [1]."),
        Block("heading", "Parameters"),
        Block(
            "term", "x : array_like", (Block("paragraph", "Input."), Block("paragraph", "Two paragraphs."))
        ),
        Block("term", "axis : int, optional", (Block("paragraph", "Where."),)),
        Block("heading", "See Also"),
        Block("reference", "dot : The product, of two."),
        Block("heading", "Examples"),
        Block("code", ">>> norm([3, 4])\n5.0"),
        Block("heading", "References"),
        Block("paragraph", "[1] A book."),
    ]


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("Do it::\n\n    a = 1", [Block("paragraph", "Do it:"), Block("code", "a = 1")]),
        ("- one\n  more\n- two", [Block("item", "one more"), Block("item", "two")]),
        (".. versionadded:: 1.2\n   With care.", ["New in version 1.2", "With care."]),
        ("Calls\nf.", [Block("paragraph", "Calls f.")]),
    ],
)
def test_small_forms(text: str, blocks: list[Block | str]):
    assert list(blocks_of(text)) == [Block("paragraph", b) if isinstance(b, str) else b for b in blocks]


def words(blocks: list[Block]) -> list[str]:
    return [word for block in blocks for word in [*block.text.split(), *words(list(block.inner))]]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["a b", "", "c :", "d.", "e : f", "g = h()"]))))
def test_no_word_is_lost_and_none_is_added(lines: list[tuple[int, str]]):
    text = "\n".join(" " * 4 * indent + line for indent, line in lines)

    assert words(list(blocks_of(text))) == text.split()
