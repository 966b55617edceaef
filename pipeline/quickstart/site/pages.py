"""Decides which pages there are: one a module, and more where a module would be too long for one."""

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from pipeline.quickstart.site.names import Names
from pipeline.quickstart.site.pieces import Module, Piece

# No page is larger; a page of the web's usual length is what we aim at, so longer modules are divided.
PAGE_BYTES = 300_000
READABLE_BYTES = 20_000
# Tags, anchors and links that a piece and a line of text bring along, as an upper estimate.
_PIECE_BYTES = 400
_LINE_BYTES = 16
_GROWTH = 1.25
_NAME_CHARACTERS = 150


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A documented thing on a page; of a class, the members from `start` to `stop`."""

    name: str
    start: int = 0
    stop: int = 0


@dataclass(kw_only=True, slots=True)
class Page:
    """One page to be written, with the paths of those it belongs together with."""

    path: str  # from the root of the site: numpy/numpy.linalg.html
    title: str
    module: str
    parts: list[Part] = field(default_factory=list)
    overview: list[str] = field(default_factory=list)  # of the module, documented on its other pages
    mentions: list[str] = field(default_factory=list)  # shown by the module, documented by another
    up: str = ""
    siblings: list[str] = field(default_factory=list)  # the other pages of the same module
    below: list[str] = field(default_factory=list)  # pages of modules inside this one


def plan_pages(package: str, modules: Sequence[Module], names: Names) -> list[Page]:
    """Return the package's pages in order of module, and enter their paths into `names`."""
    paths = _Paths(package)
    documented = [(module, own) for module in modules if (own := _own(module, names)) or module.doc]
    for module, _ in documented:
        names.modules[module.name] = paths.take(module.name)
    pages = [page for module, own in documented for page in _pages_of(module, own, names, paths)]
    for page in pages:
        for part in page.parts:
            names.paths.setdefault(part.name, page.path)
    members = {piece.name: piece.members for module, own in documented for piece in own}
    for page in pages:
        for part in page.parts:
            for member in members[part.name][part.start : part.stop]:
                names.paths[member.name] = page.path
    return pages


def _own(module: Module, names: Names) -> list[Piece]:
    return [piece for piece in module.pieces if names.canonical[piece.name] == piece.name]


def _pages_of(module: Module, own: list[Piece], names: Names, paths: "_Paths") -> list[Page]:
    whole = Page(
        path=names.modules[module.name],
        title=module.name,
        module=module.name,
        mentions=[piece.name for piece in module.pieces if names.canonical[piece.name] != piece.name],
    )
    if sum(map(_piece_bytes, own)) + _text_bytes(module.doc) <= READABLE_BYTES:
        whole.parts = [_all_of(piece) for piece in own]
        return [whole]
    groups = _groups(own)
    if len(groups) == 1 and _text_bytes(module.doc) <= READABLE_BYTES:
        whole.parts = groups[0].parts
        return [whole]
    pages = [
        Page(path=paths.take(group.key), title=group.title, module=module.name, parts=group.parts)
        for group in groups
    ]
    whole.overview = [piece.name for piece in own]
    whole.siblings = [page.path for page in pages]
    for page in pages:
        page.up = whole.path
        page.siblings = [other.path for other in pages if other is not page]
    return [whole, *pages]


@dataclass(frozen=True, slots=True)
class _Group:
    """What goes on one page: parts, and the names of the first and the last thing in them."""

    parts: list[Part]
    first: str
    last: str

    @property
    def key(self) -> str:
        return self.first if self.first == self.last else f"{self.first}-{self.last.rpartition('.')[2]}"

    @property
    def title(self) -> str:
        return self.first if self.first == self.last else f"{self.first} to {self.last.rpartition('.')[2]}"


def _groups(own: list[Piece]) -> list[_Group]:
    """Return large classes alone, the others together by kind and name."""
    classes = [piece for piece in own if piece.kind == "class"]
    large = [piece for piece in classes if _piece_bytes(piece) > READABLE_BYTES // 3]
    groups = [group for piece in large for group in _slices(piece)]
    for pieces in ([piece for piece in classes if piece not in large], [p for p in own if p.kind != "class"]):
        gathered: list[Piece] = []
        for piece in pieces:
            if gathered and sum(map(_piece_bytes, gathered)) + _piece_bytes(piece) > READABLE_BYTES:
                groups.append(_together(gathered))
                gathered = []
            gathered.append(piece)
        if gathered:
            groups.append(_together(gathered))
    return groups


def _together(pieces: list[Piece]) -> _Group:
    return _Group([_all_of(piece) for piece in pieces], pieces[0].name, pieces[-1].name)


def _slices(cls: Piece) -> list[_Group]:
    """Return the class whole, or in slices of its members where one page cannot hold it."""
    borders, total = [0], _text_bytes(cls.doc)
    for place, member in enumerate(cls.members):
        size = _piece_bytes(member)
        if total + size > PAGE_BYTES and place > borders[-1]:
            borders.append(place)
            total = 0
        total += size
    groups = []
    for start, stop in pairwise([*borders, len(cls.members)]):
        first, last = (cls, cls) if start == 0 else (cls.members[start], cls.members[stop - 1])
        groups.append(_Group([Part(name=cls.name, start=start, stop=stop)], first.name, last.name))
    return groups


def _all_of(piece: Piece) -> Part:
    return Part(name=piece.name, stop=len(piece.members))


def _piece_bytes(piece: Piece) -> int:
    return _PIECE_BYTES + _text_bytes(piece.doc) + sum(map(_piece_bytes, piece.members))


def _text_bytes(text: str) -> int:
    return int(len(html.escape(text).encode()) * _GROWTH) + _LINE_BYTES * text.count("\n")


class _Paths:
    """Gives out paths, no two of which differ in case alone: some file systems could not tell them apart."""

    def __init__(self, package: str):
        self._package, self._taken = package, {"index"}

    def take(self, key: str) -> str:
        free, number = key[:_NAME_CHARACTERS], 1
        while free.casefold() in self._taken:
            number += 1
            free = f"{key[:_NAME_CHARACTERS]}-{number}"
        self._taken.add(free.casefold())
        return f"{self._package}/{free}.html"
