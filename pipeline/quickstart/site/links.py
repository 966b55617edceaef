"""Turns the names in a text into links, where the name in its context means something that has a page."""

import html
import re
from dataclasses import dataclass
from urllib.parse import quote

from pipeline.quickstart.site.names import Names, Place

_TOKEN = re.compile(
    r"(?P<url>\b(?:https?|ftp)://[^\s<>`]+)"
    r"|:(?:py:)?mod:`(?P<module>[^`]+)`"
    r"|:(?:[a-z]+:){1,2}`(?P<role>[^`]+)`"
    r"|``(?P<literal>[^`]+)``"
    r"|`(?P<tick>[^`\n]+)`_{0,2}"
    r"|(?P<dotted>\b[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)"
    r"|(?P<called>\b[A-Za-z_]\w*(?=\())"
    r"|(?P<odd>\b(?:[a-z]\w*_\w+|[A-Z][a-z0-9]+[A-Z]\w*)\b)"
    r"|(?P<word>\b[A-Za-z_]\w+\b)"
)
_DOTTED = re.compile(r"\b[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_NEVER, _ANYWHERE = re.compile(r"(?!)"), re.compile(r"$|")
_ROLE = re.compile(r"(?::[a-z]+:)*`+~?([^`]*)`+")
# Where an annotation may begin: after ": ", "-> ", "[" or "| ".
_ANNOTATION = re.compile(r"(?:: |> |\[|\| )$")
_NAME = re.compile(r"^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*$")
_TARGET = re.compile(r"^(.+?) *<([^<>]+)>$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Context:
    """Where a name is read: the module with what it imports, and the class, if any."""

    module: str
    cls: str
    scope: dict[str, str]


def unmarked(text: str) -> str:
    """Return text without the marks of roles and code: :func:`~x.y` is x.y."""
    return _ROLE.sub(r"\1", text)


def escape(text: str) -> str:
    """Return text that is safe between tags."""
    return html.escape(text, quote=False)


class Linker:
    """Makes links for one page: the first time a target is named, and never to the page itself."""

    def __init__(self, names: Names, path: str):
        self._names, self._path = names, path
        self._folder = path.rpartition("/")[0]
        self._used: set[Place] = set()
        self._known: dict[tuple[str, str, bool], Place | None] = {}
        self.targets: set[str] = set()  # the paths of the pages linked to

    def text(self, text: str, context: Context) -> str:
        """Return prose as HTML; of its words, those are looked up that can only be names."""
        return self._linked(text, context, _NEVER)

    def type(self, text: str, context: Context) -> str:
        """Return the description of a type as HTML; plain words that are classes are links as well."""
        return self._linked(text, context, _ANYWHERE)

    def signature(self, text: str, context: Context) -> str:
        """Return a signature as HTML; plain words are looked up where annotations stand."""
        return self._linked(text, context, _ANNOTATION)

    def names(self, text: str, context: Context) -> str:
        """Return a list of names as HTML, every one a link where it has a page."""
        return _DOTTED.sub(
            lambda match: self._first_time(match[0], match[0], context), escape(unmarked(text))
        )

    def link(self, path: str, text: str) -> str:
        """Return a link to a page of the site, whatever was linked before."""
        self.targets.add(path)
        return f'<a href="{self._href(Place(path, ""))}">{escape(text)}</a>'

    def name(self, name: str) -> str:
        """Return a name in full, as a link where it has a page."""
        place = self._names.find(name)
        return self._link(place, name) if place else escape(name)

    def _linked(self, text: str, context: Context, word_after: re.Pattern[str]) -> str:
        pieces, here = [], 0
        for match in _TOKEN.finditer(text):
            kind, start = match.lastgroup or "", match.start()
            is_doubtful = kind == "word" or (kind == "odd" and word_after is _ANNOTATION)
            if is_doubtful and not word_after.search(text, max(0, start - 3), start):
                continue
            pieces.append(escape(text[here:start]))
            pieces.append(self._token(kind, match[kind], context))
            here = match.end()
        return "".join([*pieces, escape(text[here:])])

    def _token(self, kind: str, written: str, context: Context) -> str:
        if kind == "url":
            return escape(written)
        if kind == "module":
            return f"<code>{self._once(self._names.find(written.strip('~!')), written.strip('~!'))}</code>"
        if kind in ("role", "tick"):
            return self._marked(written, context)
        if kind == "literal":
            return f"<code>{self._first_time(written, written, context)}</code>"
        return self._first_time(written, written, context, only_classes=kind == "word")

    def _marked(self, written: str, context: Context) -> str:
        """Return what stood between backticks: a name, `~name`, or `text <target>`."""
        shown, target = written, written
        if explicit := _TARGET.match(written):
            shown, target = explicit[1], explicit[2]
            if "://" in target:
                return escape(f"{shown} ({target})")
        elif written.startswith("~"):
            target = written[1:]
            shown = target.rpartition(".")[2]
        shown = " ".join(shown.lstrip("!~.").split())
        return f"<code>{self._first_time(shown, target.strip('~.!()'), context)}</code>"

    def _first_time(self, shown: str, target: str, context: Context, only_classes: bool = False) -> str:
        return self._once(
            self._resolve(target, context, only_classes) if _NAME.match(target) else None, shown
        )

    def _once(self, place: Place | None, shown: str) -> str:
        return escape(shown) if place is None or place in self._used else self._link(place, shown)

    def _link(self, place: Place, shown: str) -> str:
        if place.path == self._path:
            return escape(shown)
        self._used.add(place)
        self.targets.add(place.path)
        return f'<a href="{self._href(place)}">{escape(shown)}</a>'

    def _href(self, place: Place) -> str:
        folder, _, name = place.path.rpartition("/")
        path = quote(name if folder == self._folder else f"../{place.path}" if self._folder else place.path)
        return f"{path}#{quote(place.anchor)}" if place.anchor else path

    def _resolve(self, name: str, context: Context, only_classes: bool) -> Place | None:
        key = (name, context.cls, only_classes)
        if key not in self._known:
            self._known[key] = next(
                (
                    place
                    for full in _meanings(name, context)
                    if (not only_classes or self._names.is_class(full)) and (place := self._names.find(full))
                ),
                None,
            )
        return self._known[key]


def _meanings(name: str, context: Context) -> list[str]:
    """Return what a name may be called in full, the nearest meaning first."""
    first, dot, rest = name.partition(".")
    if first == "self":
        return [f"{context.cls}.{rest}"] if context.cls and rest else []
    meanings = [f"{context.cls}.{name}"] if context.cls else []
    meanings.append(f"{context.module}.{name}")
    if first in context.scope:
        meanings.append(f"{context.scope[first]}{dot}{rest}")
    package = context.module
    while "." in package:
        package = package.rpartition(".")[0]
        meanings.append(f"{package}.{name}")
    meanings.append(f"builtins.{name}")
    if dot:
        meanings.append(name)
    return meanings
