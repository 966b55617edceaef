from __future__ import annotations

import json
import math

import numpy as np
import pytest

from pipeline.errors import FormatError
from pipeline.formats.publish import write_json
from pipeline.formats.seal import SEAL, read_sealed, sealed

VALUES = {"loss": 0.1, "steps": [3, (4, 5)], "name": "é", "odd": math.nan, "n": np.int64(7), "nothing": None}


def test_what_was_sealed_is_read_without_its_seal(tmp_path):
    write_json(tmp_path / "a.json", sealed(VALUES))

    found = read_sealed(tmp_path / "a.json", "restore it")
    assert found == {**VALUES, "steps": [3, [4, 5]], "odd": None, "n": 7}


def test_order_and_layout_may_change_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    values = json.loads(json.dumps(sealed({"b": 1.5, "a": {"y": 2, "x": 3}})))
    path.write_text(json.dumps(dict(reversed(values.items()))))
    assert read_sealed(path, "restore it") == {"a": {"x": 3, "y": 2}, "b": 1.5}

    path.write_text(json.dumps({**values, "b": 2.5}))
    told = rf"a\.json: its content is blake3:\w+, but was sealed as '{values[SEAL]}'.*; restore it"
    with pytest.raises(FormatError, match=told):
        read_sealed(path, "restore it")


def test_every_flipped_bit_is_found(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, sealed({"step": 12, "tokens": 1.25, "name": "x y", "list": [1, 2], "flag": False}))
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(FormatError, match=r"a\.json:.*(restore it|restore or rebuild)"):
            read_sealed(path, "restore it")


def test_a_file_of_an_older_version_or_by_hand_has_no_seal(tmp_path):
    (tmp_path / "a.json").write_text('{"step": 1}')
    assert read_sealed(tmp_path / "a.json", "restore it") == {"step": 1}

    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(FormatError, match=r"a\.json: not an object of JSON; restore it"):
        read_sealed(tmp_path / "a.json", "restore it")
