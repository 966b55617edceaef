"""What is known about a documented module: plain values that pass between processes as JSON."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.formats import publish


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One documented class, function, method, property or value, as it is seen in its module."""

    name: str  # in full: numpy.ndarray.reshape
    kind: str  # class, function, method, property or value
    signature: str
    doc: str
    home: str  # where it was defined; the same for all modules that show it; "" where that is unknown
    bases: list[str] = field(default_factory=list)  # of a class: its ancestors, nearest first
    silent: list[str] = field(default_factory=list)  # of a class: members without documentation
    members: list["Piece"] = field(default_factory=list)  # of a class: documented members, by name


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """One module: its own docstring and what it shows."""

    name: str
    is_package: bool
    doc: str
    scope: dict[str, str]  # names visible in the module -> what they are called in full
    pieces: list[Piece]


@dataclass(frozen=True, kw_only=True, slots=True)
class Harvest:
    """What one unit of modules gave."""

    modules: list[Module]
    left_out: dict[str, str]  # module -> reason

    def write(self, path: Path) -> None:
        """Publish as JSON."""
        publish.write_json(path, self)

    @classmethod
    def read(cls, path: Path) -> "Harvest":
        """Return what `write` published."""
        raw = publish.read_json(path)
        return cls(modules=[_module(module) for module in raw["modules"]], left_out=raw["left_out"])


def _module(raw: dict[str, Any]) -> Module:
    return Module(**{**raw, "pieces": [_piece(piece) for piece in raw["pieces"]]})


def _piece(raw: dict[str, Any]) -> Piece:
    return Piece(**{**raw, "members": [_piece(member) for member in raw["members"]]})
