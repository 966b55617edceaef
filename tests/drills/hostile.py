"""Things that run code where they are opened carelessly; each tells by a folder that it makes, the canary."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np

from tests.drills.commands import command

RAN_NOTHING = "opening an untrusted artefact runs nothing"
REFUSED, DONE = 2, 0

MARKUP = (
    "\"'></title></style></pre></svg><script>planted()</script><img src=x onerror=planted()>"
    "<a href=javascript:planted()>x</a>{{ 'z' * 13 }}{% for x in 'ab' %}{% endfor %}]]>"
)


class Reduce:
    """Makes the canary by the instruction that rebuilds objects."""

    def __init__(self, canary: Path):
        self._canary = str(canary)

    def __reduce__(self):
        return os.mkdir, (self._canary,)


class Evaluates(Reduce):
    """Makes the canary by evaluating text."""

    def __reduce__(self):
        return builtins.eval, (f"__import__('os').mkdir({self._canary!r})",)


def pickles(canary: Path) -> dict[str, bytes]:
    """Return pickles that make the canary, by different instructions of the pickle machine."""
    name = str(canary).encode()
    return {
        "reduce, protocol 0": pickle.dumps(Reduce(canary), 0),
        "reduce, protocol 2": pickle.dumps(Reduce(canary), 2),
        "reduce, protocol 5": pickle.dumps(Reduce(canary), 5),
        "eval, protocol 4": pickle.dumps(Evaluates(canary), 4),
        "inst": b"(V" + name + b"\niposix\nmkdir\n.",
        "obj": b"(cposix\nmkdir\nV" + name + b"\no.",
        "inside a state": pickle.dumps({"wte.weight": [Reduce(canary)], "step": 7}, 2),
    }


def torch_file(canary: Path, pickled: bytes | None = None) -> bytes:
    """Return what `torch.save` writes of an object that makes the canary."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled or pickles(canary)["reduce, protocol 2"])
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return file.getvalue()


def object_array(canary: Path) -> bytes:
    """Return a .npy file whose only element makes the canary."""
    file = io.BytesIO()
    np.save(file, np.array([Reduce(canary)], dtype=object), allow_pickle=True)
    return file.getvalue()


def object_archive(canary: Path) -> bytes:
    """Return a .npz file of such an array."""
    file = io.BytesIO()
    np.savez(file, params=np.array([Reduce(canary)], dtype=object), allow_pickle=True)
    return file.getvalue()


def yamls(canary: Path) -> dict[str, str]:
    """Return YAML values that make the canary, or name things of Python's, where all tags are obeyed."""
    return {
        "apply": f"!!python/object/apply:os.mkdir [{str(canary)!r}]",
        "new": f"!!python/object/new:os.mkdir [{str(canary)!r}]",
        "apply with arguments": f"!!python/object/apply:os.mkdir {{args: [{str(canary)!r}]}}",
        "apply of eval": f"!!python/object/apply:eval [\"__import__('os').mkdir('{canary}')\"]",
        "full tag": f"!<tag:yaml.org,2002:python/object/apply:os.mkdir> [{str(canary)!r}]",
        "name": "!!python/name:os.mkdir",
        "module": "!!python/module:os",
        "object": "!!python/object:pathlib.PurePath {}",
        "tuple": "!!python/tuple [a, b]",
        "own tag": "!run [mkdir]",
    }


def assert_opened_safely(words: list, expected: int, canary: Path) -> str:
    """Run a command that opens what is hostile, and return what it said."""
    ended = command(*words)

    assert not canary.exists()
    assert ended.code == expected, ended.said
    assert "Traceback" not in ended.said
    if len(words) > 3 and words[0] == "export":
        shutil.rmtree(words[3], ignore_errors=True)
    return ended.said
