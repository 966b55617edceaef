"""enwik8 and text8: Wikipedia as a text of bytes, of which by custom the last twentieth is for testing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import FormatError
from pipeline.evaluate.language import LanguageTask, Windows
from pipeline.evaluate.original import plain_text
from pipeline.evaluate.task import Setting
from pipeline.formats.source import Rows

TEST_PART = 20
"""Of 100 MB the first 90 are for training, 5 for validation and the last 5 for testing."""


def parse(files: Sequence[Path]) -> list[str]:
    """Return the test part as one row: the last twentieth of a file, or all of one that ends in `.test`.

    Raises FormatError if it is not UTF-8 text.
    """
    (path,) = files
    size = path.stat().st_size
    start = 0 if path.suffix == ".test" else size - size // TEST_PART
    with path.open("rb") as file:
        file.seek(start)
        content = file.read()
    try:
        return [content.decode()] if content else []
    except UnicodeDecodeError as fault:
        raise FormatError(f"{path}: byte {start + fault.start}: not UTF-8 text; get the file anew") from None


def task(name: str, config: Windows, rows: Rows[str], setting: Setting) -> LanguageTask:
    """Return the task of a test part."""
    protocol = (
        "the last twentieth of the file as it is, one text; bits per byte and character are of that text"
    )
    texts = [plain_text(text) for text in rows.rows]
    return LanguageTask(name, protocol, rows.sha256, texts, config.sizes(name, setting), setting)
