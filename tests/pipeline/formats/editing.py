"""Files with a seal, changed as one who means it would: sealed again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.formats.publish import write_json
from pipeline.formats.seal import SEAL, sealed


def edit(path: Path, **changes: Any) -> None:
    """Give some keys of a sealed JSON file other values."""
    values = json.loads(path.read_text())
    del values[SEAL]
    write_json(path, sealed({**values, **changes}))
