"""Links that are left out before anything is fetched: lists of domains, file types and patterns kept as YAML.

A list is a mapping of `domains` (a name covers its subdomains), `extensions` (of the last part of the path)
and `patterns` (regular expressions searched in the canonical URL); see `configs/data/blocklists/`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from pipeline.composition import compose
from pipeline.config import Schema, identity, validated
from pipeline.errors import ConfigError

_REMEMBERED = 1 << 16  # hosts


def _compiling(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as fault:
        raise ValueError(f"{pattern!r} is not a regular expression: {fault}") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_compiling)]


class BlockList(Schema):
    """The content of one block list file."""

    domains: list[str] = identity([], description="host names; each covers its subdomains")
    extensions: list[str] = identity([], description="file types without the dot")
    patterns: list[Pattern] = identity([], description="regular expressions searched in the canonical URL")


class Blocked:
    """The union of several lists, asked once per link."""

    def __init__(self, lists: Sequence[BlockList]):
        self._domains = {domain.lower().strip(".") for one in lists for domain in one.domains}
        self._extensions = {extension.lower().lstrip(".") for one in lists for extension in one.extensions}
        self._covered: dict[str, bool] = {}
        patterns = [pattern for one in lists for pattern in one.patterns]
        self._pattern = re.compile("|".join(f"(?:{pattern})" for pattern in patterns)) if patterns else None

    def reason(self, canonical_url: str) -> str | None:
        """Return why a link is blocked (`blocked-domain`, `-extension`, `-pattern`), or None."""
        host_start = canonical_url.index("//") + 2
        path_start = canonical_url.index("/", host_start)
        if self._covers_authority(canonical_url[host_start:path_start]):
            return "blocked-domain"
        if canonical_url.find(".", path_start) >= 0:
            name = canonical_url[path_start:].partition("?")[0].rpartition("/")[2]
            _, dot, extension = name.rpartition(".")
            if dot and extension.lower() in self._extensions:
                return "blocked-extension"
        if self._pattern is not None and self._pattern.search(canonical_url):
            return "blocked-pattern"
        return None

    def covers(self, host: str) -> bool:
        """Tell whether a host, or a domain above it, is on a list."""
        while host:
            if host in self._domains:
                return True
            host = host.partition(".")[2]
        return False

    def _covers_authority(self, authority: str) -> bool:
        """Tell the same of a host with its port, remembered: few hosts have most links."""
        covered = self._covered.get(authority)
        if covered is None:
            if len(self._covered) >= _REMEMBERED:
                self._covered.clear()
            covered = self._covered[authority] = self.covers(authority.partition(":")[0])
        return covered


def read_blocklists(paths: Sequence[Path]) -> Blocked:
    """Read block list files; ConfigError names every fault of all of them."""
    problems: list[str] = []
    lists = []
    for path in paths:
        try:
            lists.append(validated(BlockList, compose(path)))
        except ConfigError as fault:
            problems += [f"{problem} (links.blocklists)" for problem in fault.problems]
    if problems:
        raise ConfigError(problems)
    return Blocked(lists)
