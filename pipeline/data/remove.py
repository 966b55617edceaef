"""Take-down requests: documents whose URL or domain somebody asked to be left out.

The request file has one URL, domain or comment (`#`) a line. A domain covers its subdomains. The phase stands
after all filters, so that a request makes only deduplication and what follows anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.data.counts import PhaseCounts
from pipeline.data.documents import ReadDocuments, TaskOutput, WriteDocuments, document_files, merged_counts
from pipeline.data.phase import PhaseRun
from pipeline.data.url import UrlError, canonical
from pipeline.errors import ConfigError


@dataclass(frozen=True)
class Requests:
    """What is to be left out: canonical URLs, and domains in lower case."""

    urls: frozenset[str]
    domains: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> Requests:
        """Read a request file; ConfigError names every line that is neither a URL nor a domain."""
        urls, domains, problems = set(), set(), []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            entry = line.strip()
            if not entry or entry.startswith("#"):
                continue
            try:
                if "://" in entry:
                    urls.add(canonical(entry))
                else:
                    domains.add(_domain(entry))
            except UrlError:
                problems.append(
                    f"{path}:{number}: {entry[:200]!r} is neither a URL (http://…) nor a domain name"
                )
        if problems:
            raise ConfigError(problems)
        return cls(frozenset(urls), frozenset(domains))

    def reason(self, canonical_url: str) -> str | None:
        """Return `url` or `domain` if a document is to be left out, else None."""
        if canonical_url in self.urls:
            return "url"
        host = canonical_url.partition("://")[2].partition("/")[0].partition(":")[0]
        while host:
            if host in self.domains:
                return "domain"
            host = host.partition(".")[2]
        return None


def run(path: Path, phase: PhaseRun) -> PhaseCounts:
    """Leave out what the request file names."""
    requests = Requests.read(path)
    files = document_files(phase.source)
    output = TaskOutput(phase.kept, phase.dropped, phase.counts)
    phase.run_tasks(
        [ReadDocuments(files, output), LeaveOut(requests, output), WriteDocuments(output)], len(files)
    )
    return merged_counts(phase.counts, len(files))


@dataclass
class LeaveOut:
    """A pipeline's middle step: what nobody asked to be removed goes on."""

    requests: Requests
    output: TaskOutput

    def __call__(self, data: Iterable[Any], _rank: int, _world_size: int) -> Iterator[Any]:
        """Yield the documents that stay; of the others only address and reason are kept."""
        for document in data:
            reason = self.requests.reason(document.metadata["canonical_url"])
            if reason is None:
                yield document
            else:
                document.text = ""  # removed is removed: no copy among the dropped ones
                self.output.drop(document, reason)


def _domain(entry: str) -> str:
    """Return a domain as it stands in canonical URLs (lower case, punycode)."""
    if "/" in entry:
        raise UrlError("not-http", entry)  # a URL whose scheme was forgotten must not take a whole domain
    return canonical(f"http://{entry}/").partition("://")[2].partition("/")[0]
