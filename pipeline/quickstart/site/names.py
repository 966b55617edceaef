"""Where every documented name lives: one page each, however many modules show it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.quickstart.site.pieces import Module, Piece

# Two values of the same text at least this long are one thing under two names (numpy.abs, numpy.absolute).
SAME_CHARACTERS = 200


class Place(NamedTuple):
    """A page, and the anchor on it ("" for a module, which is its whole page)."""

    path: str
    anchor: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """The table that links are made from. Every field is plain, so that it passes as JSON."""

    canonical: dict[str, str]  # a name something goes by -> the one under which it is documented
    bases: dict[str, list[str]]  # documented class -> its ancestors, nearest first
    silent: dict[str, list[str]]  # documented class -> members without documentation of their own
    paths: dict[str, str] = field(default_factory=dict)  # documented name or member -> path of its page
    modules: dict[str, str] = field(default_factory=dict)  # module -> path of its page

    def find(self, name: str) -> Place | None:
        """Return where a name in full is documented; members are looked for along the ancestors."""
        if path := self.modules.get(name):
            return Place(path, "")
        known = self.canonical.get(name, name)
        if path := self.paths.get(known):
            return Place(path, known)
        owner, _, member = name.rpartition(".")
        return self._member(self.canonical.get(owner, owner), member)

    def is_class(self, name: str) -> bool:
        """Tell whether a name in full is that of a documented class."""
        return self.canonical.get(name, name) in self.bases

    def _member(self, owner: str, member: str) -> Place | None:
        for ancestor in (owner, *self.bases.get(owner, ())):
            known = self.canonical.get(ancestor, ancestor)
            name = f"{known}.{member}"
            if path := self.paths.get(name):
                return Place(path, name)
            if member in self.silent.get(known, ()):
                return Place(self.paths[known], known)
        return None


def names_of(modules: Iterable[Module]) -> Names:
    """Return the table of everything the modules show, without pages as yet."""
    shown: dict[str, list[Piece]] = defaultdict(list)
    for module in modules:
        for piece in module.pieces:
            shown[_identity(piece)].append(piece)
    canonical: dict[str, str] = {}
    bases, silent = {}, {}
    for group in shown.values():
        chosen = min(group, key=_rank)
        for piece in group:
            canonical[piece.name] = chosen.name
            if piece.home:
                canonical.setdefault(piece.home, chosen.name)
        if chosen.kind == "class":
            bases[chosen.name] = chosen.bases
            silent[chosen.name] = chosen.silent
    return Names(canonical=canonical, bases=bases, silent=silent)


def is_public(name: str) -> bool:
    """Tell whether no part of a dotted name is private."""
    return not any(part.startswith("_") and not part.endswith("__") for part in name.split("."))


def _identity(piece: Piece) -> str:
    if piece.home:
        return piece.home
    return piece.doc if len(piece.doc) >= SAME_CHARACTERS else f"{piece.name.rpartition('.')[2]}\n{piece.doc}"


def _rank(piece: Piece) -> tuple[bool, bool, bool, int, str]:
    """Order the names of one thing: public first, then as defined, then the shortest way to it."""
    own_name = piece.name.rpartition(".")[2] == piece.home.rpartition(".")[2]
    return (
        not is_public(piece.name),
        piece.name != piece.home,
        not own_name,
        piece.name.count("."),
        piece.name,
    )
