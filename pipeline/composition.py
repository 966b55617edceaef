"""YAML files into one mapping: `from:` starts as another file, later keys and the command line lie on top.

Every value remembers the file and line it came from, so that a fault found much later can name its place.
Two traps of YAML 1.1 are closed: `6e-4` is a number, and a key given twice is an error.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from launch.secrets import fault_in
from pipeline.errors import ConfigError

COMMAND_LINE = "command line"
DEEPEST = 32
_PLAIN_TAGS = ("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map")
LARGEST_BYTES = 1 << 20

Where = tuple[str | int, ...]


@dataclass
class Composed:
    """A value and, for each path inside it, the place (`file:line`) that set it."""

    value: Any
    places: dict[Where, str] = field(default_factory=dict)

    def place(self, where: Where) -> str:
        """Return the place of a path, or of its nearest parent that has one."""
        for end in range(len(where), -1, -1):
            if where[:end] in self.places:
                return self.places[where[:end]]
        return ""

    def line(self, where: Where, message: str) -> str:
        """Return a message behind the place and the name of a path."""
        return ": ".join(part for part in (self.place(where), ".".join(map(str, where)), message) if part)


def compose(path: Path, overrides: Sequence[str] = ()) -> Composed:
    """Read a file and all it starts `from`, lay `a.b=value` overrides over it; ConfigError on any fault."""
    composed = _read(path, ())
    if not isinstance(composed.value, dict):
        raise ConfigError(f"{path}:1: expected a mapping of keys, got {type(composed.value).__name__}")
    problems: list[str] = []
    for override in overrides:
        try:
            composed = lay_over(composed, _override(override))
        except ConfigError as fault:
            problems += fault.problems
    if problems:
        raise ConfigError(problems)
    return composed


def lay_over(base: Composed, over: Composed) -> Composed:
    """Merge mappings key by key; anything else, and a mapping of another `kind`, is replaced.

    In a list laid over another one, a bare name stands for that one's mapping of this `kind`, if it has one.
    """
    old, new = base.value, over.value
    if isinstance(old, list) and isinstance(new, list):
        return _picked(base, over)
    if not isinstance(old, dict) or not isinstance(new, dict) or _other_kind(old, new):
        return over
    value, places = dict(old), dict(base.places)
    for key in new:
        below = lay_over(part(base, key), part(over, key)) if key in old else part(over, key)
        value[key] = below.value
        places = {where: place for where, place in places.items() if where[:1] != (key,)}
        places.update({(key, *where): place for where, place in below.places.items()})
    return Composed(value, places)


def part(composed: Composed, key: str | int) -> Composed:
    """Return what is under a key, or at a place of a list."""
    places = {where[1:]: place for where, place in composed.places.items() if where[:1] == (key,)}
    return Composed(composed.value[key], places)


def secrets_in(composed: Composed) -> list[str]:
    """Return what is said of keys and passwords, which would be written down with the configuration."""
    remedy = "leave it in the environment or a file of yours (wandb login, hf auth login)"
    return [
        composed.line(where, f"{what} would be written down with the configuration; {remedy}")
        for where, value in _leaves(composed.value, ())
        if isinstance(value, str) and (what := fault_in(value))
    ]


def truths_for_numbers(composed: Composed, taken: Any) -> list[str]:
    """Return what is said of true and false where numbers belong: pydantic takes them for 1 and 0.

    `taken` is what became of the composed value.
    """
    numbers = {where for where, value in _leaves(taken, ()) if not isinstance(value, bool | str | None)}
    return [
        composed.line(where, f"expected a number, got {str(value).lower()}")
        for where, value in _leaves(composed.value, ())
        if isinstance(value, bool) and where in numbers
    ]


def _leaves(value: Any, where: Where) -> Iterator[tuple[Where, Any]]:
    pairs = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    )
    if pairs is None:
        yield where, value
        return
    for key, below in pairs:
        yield from _leaves(below, (*where, key))


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's numbers."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def _read(path: Path, stack: tuple[Path, ...]) -> Composed:
    if path.resolve() in stack:
        raise ConfigError(f"{path}: starts from itself by way of {' and '.join(map(str, stack))}")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file{_nearest_file(path)}") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{path}: cannot be read as text ({fault})") from None
    return _parse(text, str(path), path.parent, (*stack, path.resolve()))


def _parse(text: str, name: str, folder: Path, stack: tuple[Path, ...], offset: bool = True) -> Composed:
    if len(text) > LARGEST_BYTES:
        raise ConfigError(f"{name}: {len(text):,} bytes is no configuration; the limit is {LARGEST_BYTES:,}")
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as fault:
        line = text.count("\n", 0, fault.position) + 1
        raise ConfigError(f"{name}:{line}: not valid YAML: a control character ({fault.reason})") from None
    try:
        for token in yaml.scan(text):
            if isinstance(token, yaml.AliasToken):
                raise ConfigError(
                    f"{name}:{token.start_mark.line + 1}: aliases (*name) are not used here; use `from:`"
                )
        node = loader.get_single_node()
        if node is None:
            return Composed({}, {(): f"{name}:1"})
        return _value(loader, node, name if offset else "", folder, stack, 0)
    except yaml.MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 1
        raise ConfigError(f"{name}:{line}: not valid YAML: {fault.problem}") from None
    except (ValueError, RecursionError) as fault:
        raise ConfigError(f"{name}: not valid YAML: {fault}") from None
    finally:
        loader.dispose()


def _value(
    loader: _Loader, node: yaml.Node, name: str, folder: Path, stack: tuple[Path, ...], depth: int
) -> Composed:
    place = f"{name}:{node.start_mark.line + 1}" if name else COMMAND_LINE
    if depth > DEEPEST:
        raise ConfigError(f"{place}: nested deeper than {DEEPEST} levels")
    if isinstance(node, yaml.CollectionNode) and node.tag not in _PLAIN_TAGS:
        raise ConfigError(f"{place}: not valid YAML: the tag {node.tag} means nothing here; leave it out")
    if isinstance(node, yaml.SequenceNode):
        items = [_value(loader, item, name, folder, stack, depth + 1) for item in node.value]
        places: dict[Where, str] = {(): place}
        for index, item in enumerate(items):
            places.update({(index, *where): at for where, at in item.places.items()})
        return Composed([item.value for item in items], places)
    if isinstance(node, yaml.MappingNode):
        return _mapping(loader, node, name, folder, stack, depth)
    return Composed(loader.construct_object(node), {(): place})


def _mapping(
    loader: _Loader, node: yaml.MappingNode, name: str, folder: Path, stack: tuple[Path, ...], depth: int
) -> Composed:
    at = f"{name}:{node.start_mark.line + 1}" if name else COMMAND_LINE
    own, base = Composed({}, {(): at}), None
    for key_node, value_node in node.value:
        place = f"{name}:{key_node.start_mark.line + 1}" if name else COMMAND_LINE
        key = loader.construct_object(key_node)
        if not isinstance(key, str):
            raise ConfigError(f"{place}: key {key!r} must be text; put it in quotes")
        if key in own.value:
            raise ConfigError(f"{place}: key {key!r} is given twice in this mapping")
        below = _value(loader, value_node, name, folder, stack, depth + 1)
        if key == "from":
            if base is not None:
                raise ConfigError(f"{place}: key 'from' is given twice in this mapping")
            if not isinstance(below.value, str):
                raise ConfigError(f"{place}: from: expected the path of one YAML file, got {below.value!r}")
            start = Path(os.path.normpath(folder / below.value))
            if not start.is_file():
                raise ConfigError(f"{place}: from: {start}: no such file{_nearest_file(start)}")
            base = _read(start, stack)
            if not isinstance(base.value, dict) or not base.value:
                raise ConfigError(f"{start}:1: expected a mapping of keys, got {base.value or 'nothing'!r}")
            continue
        own.value[key] = below.value
        own.places.update({(key, *where): where_place for where, where_place in below.places.items()})
        own.places[(key,)] = place
    return lay_over(base, own) if base else own


def _override(text: str) -> Composed:
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"{COMMAND_LINE}: {text!r}: expected key=value, for example optim.lr=6e-4")
    try:
        composed = (
            _parse(value, COMMAND_LINE, Path(), (), offset=False) if value.strip() else Composed("", {})
        )
    except ConfigError as fault:
        raise ConfigError([f"{COMMAND_LINE}: {key}: {problem}" for problem in fault.problems]) from None
    composed.places[()] = COMMAND_LINE
    for part in reversed(key.split(".")):
        places: dict[Where, str] = {(part, *where): place for where, place in composed.places.items()}
        composed = Composed({part: composed.value}, {(): COMMAND_LINE, **places})
    return composed


def _picked(base: Composed, over: Composed) -> Composed:
    """Return a list with what its bare names stand for in the list below it."""
    kinds = {
        item["kind"]: place
        for place, item in enumerate(base.value)
        if isinstance(item, dict) and isinstance(item.get("kind"), str)
    }
    value, places = [], dict(over.places)
    for place, item in enumerate(over.value):
        found = part(base, kinds[item]) if isinstance(item, str) and item in kinds else Composed(item)
        value.append(found.value)
        places |= {(place, *where): at for where, at in found.places.items()}
    return Composed(value, places)


def _other_kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return "kind" in new and old.get("kind") != new["kind"]


def _nearest_file(path: Path) -> str:
    try:
        names = [other.name for other in path.parent.iterdir()]
    except OSError:
        return f" ({path.parent} is no directory)"
    near = difflib.get_close_matches(path.name, names, n=1)
    return f" (did you mean {path.parent / near[0]}?)" if near else ""
