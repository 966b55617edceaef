"""A child process: imports one unit of modules and writes down what `pydoc` would show of them.

Run as ``python -m pipeline.quickstart.site.harvest REQUEST`` by `quickstart.children`; REQUEST is JSON
with ``modules``, ``skip`` (module -> reason) and ``out``. Says which module it is at, a line each, so that
the parent can tell who hung or crashed.
"""

import gc
import inspect
import os
import pkgutil
import pydoc
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson

from pipeline.quickstart.children import end_with
from pipeline.quickstart.site.clean import cleaned, cleaned_signature
from pipeline.quickstart.site.guard import Guard, Misbehaved
from pipeline.quickstart.site.pieces import Harvest, Module, Piece

SIGNATURE_CHARACTERS = 300
DOC_CHARACTERS = 40_000
_DUNDER = re.compile(r"__\w+__$")
# What every type says about its operators; repeated under thousands of classes it would be noise.
_BOILERPLATE = frozenset(
    getattr(value, "__doc__", None)
    for kind in (object, type, int, float, complex, str, bytes, bytearray, list, dict, set, BaseException)
    for name, value in vars(kind).items()
    if _DUNDER.match(name)
)


def main() -> None:
    """Read the modules of the request and publish the harvest."""
    request = orjson.loads(sys.argv[1])
    end_with(request["parent"])
    say = os.fdopen(os.dup(1), "w", buffering=1)
    guard = Guard()
    gc.disable()  # nothing here makes cycles worth collecting, and imports are a fifth faster
    modules, left_out = [], dict(request["skip"])
    for name in request["modules"]:
        if name in left_out:
            continue
        say.write(name + "\n")
        try:
            modules.append(read_module(guard.load(name), name))
        except Misbehaved as offence:
            left_out[name] = str(offence)
        except Exception as fault:  # strangers' attributes raise what they like when looked at
            left_out[name] = f"reading fails: {type(fault).__name__}"
    Harvest(modules=modules, left_out=left_out).write(Path(request["out"]))
    say.write("\n")
    say.flush()
    os._exit(0)  # exit handlers of strangers' modules do not run


def read_module(module: ModuleType, name: str) -> Module:
    """Return what the module shows, by pydoc's rules of what is visible."""
    listed = _names(getattr(module, "__all__", None))
    submodules = {entry.name for entry in pkgutil.iter_modules(getattr(module, "__path__", []))}
    values = dict(vars(module))
    for key in listed or ():
        if key not in values and key not in submodules:
            values[key] = getattr(module, key, None)
    pieces = [
        piece
        for key, value in sorted(values.items())
        if not inspect.ismodule(value)
        and _is_shown(key, value, name, listed)
        and (piece := _piece(f"{name}.{key}", value)) is not None
    ]
    return Module(
        name=name,
        is_package=hasattr(module, "__path__"),
        doc=_text(getattr(module, "__doc__", None)),
        scope=dict(_scope(values)),
        pieces=pieces,
    )


def _names(value: Any) -> list[str] | None:
    return [key for key in value if isinstance(key, str)] if isinstance(value, list | tuple) else None


def _is_shown(key: str, value: Any, module: str, listed: list[str] | None) -> bool:
    if not pydoc.visiblename(key, listed, value):
        return False
    if inspect.isclass(value) or inspect.isroutine(value):
        return listed is not None or getattr(value, "__module__", None) in (module, None)
    return listed is not None


def _scope(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a docstring of the module may call things: its imports, classes and functions."""
    for key, value in values.items():
        if inspect.ismodule(value):
            yield key, value.__name__
        elif (inspect.isclass(value) or inspect.isroutine(value)) and (home := _home(value)):
            yield key, home


def _home(value: Any) -> str:
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or "<" in name:
        return ""
    return f"{module}.{name}"


def _piece(name: str, value: Any) -> Piece | None:
    if inspect.isclass(value):
        return _class(name, value)
    kind = "function" if inspect.isroutine(value) else "value"
    doc = _text(_own_doc(value))
    if not doc:
        return None
    return Piece(name=name, kind=kind, signature=_signature(value), doc=doc, home=_home(value))


def _class(name: str, cls: type) -> Piece | None:
    members, silent = [], []
    for key, value in sorted(vars(cls).items()):
        member = _member(cls, f"{name}.{key}", key, value)
        if member is not None:
            members.append(member)
        elif not key.startswith("_") and inspect.isroutine(value):
            silent.append(key)
    doc = _text(vars(cls).get("__doc__") if isinstance(vars(cls).get("__doc__"), str) else None)
    if not doc and not members:
        return None
    return Piece(
        name=name,
        kind="class",
        signature=_signature(cls),
        doc=doc,
        home=_home(cls),
        bases=[home for base in cls.__mro__[1:-1] if (home := _home(base))],
        silent=silent,
        members=members,
    )


def _member(cls: type, name: str, key: str, value: Any) -> Piece | None:
    if key.startswith("_") and not _DUNDER.match(key):
        return None
    if key in ("__doc__", "__module__", "__dict__", "__weakref__", "__slots__") or inspect.isclass(value):
        return None
    function = getattr(value, "__func__", value) if isinstance(value, staticmethod | classmethod) else value
    raw = _own_doc(function)
    if raw is None or raw in _BOILERPLATE or _is_inherited(cls, key, raw):
        return None
    kind = "method" if inspect.isroutine(function) else "property"
    doc = _text(raw)
    signature = _signature(function) if kind == "method" else ""
    return Piece(name=name, kind=kind, signature=signature, doc=doc, home="") if doc else None


def _is_inherited(cls: type, key: str, doc: str) -> bool:
    return any(_own_doc(vars(base).get(key)) == doc for base in cls.__mro__[1:])


def _own_doc(value: Any) -> str | None:
    """Return the docstring unless it is merely that of the value's type."""
    try:
        doc = value.__doc__
        return doc if isinstance(doc, str) and doc != type(value).__doc__ else None
    except Exception:  # strangers' __getattr__ raises what it likes
        return None


def _text(doc: str | None) -> str:
    """Return the docstring as it is to be read, "" for one that no page could hold."""
    return cleaned(inspect.cleandoc(doc)) if doc and len(doc) <= DOC_CHARACTERS else ""


def _signature(value: Any) -> str:
    try:
        signature = inspect.signature(value)
        text = str(signature)
        if len(text) > SIGNATURE_CHARACTERS:
            bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
            text = str(inspect.Signature(bare))
        if len(text) > SIGNATURE_CHARACTERS:
            text = f"({', '.join(signature.parameters)})"
    except Exception:  # ValueError and TypeError are usual; defaults' __repr__ may raise anything
        return ""
    return cleaned_signature(text)


if __name__ == "__main__":
    main()
