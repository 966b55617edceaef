"""Drop documents by their address: domains, URLs, patterns and words that lists name.

Lists come in the two forms used elsewhere: block lists in YAML, as `links` takes them, and plain files of one
URL or domain a line, as `remove` takes them, which millions of lines do not slow down. Unlike the block lists
of `links` this filter also knows documents that came without links.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

from pipeline.config import Schema, identity
from pipeline.data.linking.blocklists import Blocked, read_blocklists
from pipeline.data.remove import Requests
from pipeline.data.url import UrlError, canonical
from pipeline.errors import ConfigError

KEEPS = ["Without lists every address is as good as any other."]
DROPS: list[tuple[str, str]] = []

_NO_WORD = re.compile(r"[^a-z0-9]+")


class Config(Schema):
    """What no address of a document may be or hold."""

    blocklists: tuple[Path, ...] = identity((), description="YAML files of `domains` and `patterns`")
    lists: tuple[Path, ...] = identity((), description="text files of one URL or domain a line")
    words: tuple[str, ...] = identity((), description="words of an address, between marks, in lower case")

    def build(self) -> Any:
        """Return the filter's step; ConfigError names the faults of the lists."""
        from pipeline.data.rule import Rule

        missing = [path for path in self.lists if not path.is_file()]
        if missing:
            raise ConfigError([f"{path}: no such file; see `lists` of the filter `url`" for path in missing])
        _read(self.blocklists, self.lists)
        return Rule("url", self.judge)

    def inputs(self) -> list[Path]:
        """Return the files that hold the lists."""
        return [*self.blocklists, *self.lists]

    def judge(self, document: Any) -> str | None:
        """Return why the document goes (`url`, `domain`, `word`, `blocked-…`), or None if it stays."""
        try:
            url = canonical(document.metadata.get("canonical_url", ""))
        except UrlError:
            return None  # what has no address on the web is on no list of them
        blocked, requests = _read(self.blocklists, self.lists)
        reason = blocked.reason(url)
        for request in requests:
            reason = reason or request.reason(url)
        if reason is None and not frozenset(self.words).isdisjoint(_NO_WORD.split(url.lower())):
            return "word"
        return reason


@functools.lru_cache(maxsize=8)
def _read(blocklists: tuple[Path, ...], lists: tuple[Path, ...]) -> tuple[Blocked, tuple[Requests, ...]]:
    """Return what the files hold, read once in each process: a step that carried them would be heavy."""
    return read_blocklists(blocklists), tuple(Requests.read(path) for path in lists)
