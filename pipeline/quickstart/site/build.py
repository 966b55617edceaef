"""Renders the documentation of installed packages as a site of HTML pages, the quickstart's web.

Child processes read the modules (`harvest`), this one decides on pages and names (`plan`), and child
processes write the pages (`render`). What is done is published unit by unit and never done again;
`index.json`, written last, says that the site is whole.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import StageError
from pipeline.formats import publish
from pipeline.quickstart.site.front import write_front
from pipeline.quickstart.site.modules import STDLIB, units_of, version_of
from pipeline.quickstart.site.passes import read_modules, write_pages

log = logging.getLogger("loglinear.quickstart")

HOST = "docs.loglinear.test"
PACKAGES = (STDLIB, "numpy", "pandas", "scipy", "networkx")
INDEX = "index.json"
MODULE_SECONDS = 30.0
# Raise it whenever the same packages would give other pages.
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class SiteSummary:
    """What a finished site holds."""

    pages: int
    html_bytes: int
    inbound: dict[str, int]  # path -> number of other pages that link to it
    left_out: dict[str, int]  # reason -> number of modules


def render_site(
    site: Path,
    packages: Sequence[str] = PACKAGES,
    workers: int = 2,
    *,
    module_seconds: float = MODULE_SECONDS,
) -> SiteSummary:
    """Render what the site lacks and return its summary; a finished site is only read.

    A module that takes longer than `module_seconds` to import and read is left out. Raises ConfigError where
    a package is not installed, and StageError where the site was begun with other packages or versions.
    """
    versions = {package: version_of(package) for package in packages}
    identity = {"format": FORMAT, "packages": versions}
    work = site / ".work"
    if not (site / INDEX).is_file():
        publish.remove_leftovers(site)
        _begin(work / "identity.json", identity)
        units = [unit for package in packages for unit in units_of(package)]
        left_out = read_modules(units, work, workers, module_seconds)
        pages = write_pages(site, packages, units, work, workers)
        front = [asdict(page) for page in write_front(site, versions, left_out)]
        publish.write_json(
            site / INDEX, {"identity": identity, "left_out": left_out, "pages": [*front, *pages]}
        )
    index = publish.read_json(site / INDEX)
    _check_same(site, index["identity"], identity)
    shutil.rmtree(work, ignore_errors=True)
    return _summary(index)


def _begin(path: Path, identity: dict[str, Any]) -> None:
    if path.is_file():
        _check_same(path.parents[1], publish.read_json(path), identity)
    else:
        publish.write_json(path, identity)


def _check_same(site: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    before, after = ({"renderer": side["format"], **side["packages"]} for side in (old, new))
    if list(before.items()) == list(after.items()):
        return
    changes = [
        f"{name}: {before.get(name, 'absent')} -> {after.get(name, 'absent')}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ] or ["the packages are in another order"]
    raise StageError(
        f"{site}: rendered from other packages ({'; '.join(changes)}); remove that directory, or name another"
    )


def _summary(index: dict[str, Any]) -> SiteSummary:
    return SiteSummary(
        pages=len(index["pages"]),
        html_bytes=sum(page["html_bytes"] for page in index["pages"]),
        inbound=dict(Counter(target for page in index["pages"] for target in page["links"])),
        left_out=dict(Counter(index["left_out"].values())),
    )
