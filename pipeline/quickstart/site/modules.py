"""Which modules a package has, found on disk without importing any of them."""

import importlib.machinery
import importlib.metadata
import importlib.util
import pkgutil
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError

STDLIB = "stdlib"

# Tests are not documentation; the next ones open windows or a browser, print, or run things when imported;
# array_api_compat, vendored by scipy, would import torch and all it brings.
LEFT_OUT = frozenset(
    {"tests", "test", "testing", "_testing", "conftest", "__main__"}
    | {"idlelib", "turtle", "turtledemo", "tkinter", "antigravity", "this", "__hello__", "__phello__"}
    | {"array_api_compat", "array_api_extra"}
)
# A module without source on disk (built in, frozen, or compiled) is counted as this much work.
COMPILED_BYTES = 20_000
# So large that importing the package anew for every unit costs little, so small that cores share the work.
UNIT_BYTES = 2_000_000


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Modules of one package that one child process imports and reads."""

    name: str
    package: str
    modules: tuple[str, ...]
    source_bytes: int


def version_of(package: str) -> str:
    """Return the installed version; ConfigError where the package has none."""
    if package == STDLIB:
        return platform.python_version()
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError(
            f"package {package!r} is not installed: install it or leave it out of the list"
        ) from None


def units_of(package: str, unit_bytes: int = UNIT_BYTES) -> list[Unit]:
    """Return the package's modules, in order of name, in units of about the same amount of source."""
    units: list[Unit] = []
    names: list[str] = []
    total = 0
    modules = sorted(_modules_of(package))
    for place, (name, source_bytes) in enumerate(modules, start=1):
        names.append(name)
        total += source_bytes
        if total >= unit_bytes or place == len(modules):
            units.append(
                Unit(
                    name=f"{package}-{len(units):02d}",
                    package=package,
                    modules=tuple(names),
                    source_bytes=total,
                )
            )
            names, total = [], 0
    return units


def _modules_of(package: str) -> Iterator[tuple[str, int]]:
    if package != STDLIB:
        yield from _tree(package)
        return
    for name in sorted(sys.stdlib_module_names):
        if not name.startswith("_") or name.endswith("__"):
            yield from _tree(name)


def _tree(top: str) -> Iterator[tuple[str, int]]:
    if top in LEFT_OUT:
        return
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # ValueError: a module without a spec, such as __main__
        return
    if spec is not None:
        yield top, _source_bytes(spec)
        if spec.submodule_search_locations:
            yield from _below(top, spec.submodule_search_locations)


def _below(package: str, folders: Sequence[str]) -> Iterator[tuple[str, int]]:
    for finder, name, is_package in pkgutil.iter_modules(folders):
        full = f"{package}.{name}"
        spec = finder.find_spec(name, None) if isinstance(finder, importlib.machinery.FileFinder) else None
        if spec is None or name in LEFT_OUT or name.startswith("test_"):
            continue
        yield full, _source_bytes(spec)
        if is_package and spec.submodule_search_locations:
            yield from _below(full, spec.submodule_search_locations)


def _source_bytes(spec: importlib.machinery.ModuleSpec) -> int:
    if spec.origin and spec.origin.endswith(".py"):
        return Path(spec.origin).stat().st_size
    return COMPILED_BYTES
