"""The two passes of the site that run in child processes, side by side: reading modules, writing pages."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.errors import StageError
from pipeline.formats import publish
from pipeline.log import Progress, progress
from pipeline.quickstart.children import ChildLost, run_child, run_parallel
from pipeline.quickstart.site.modules import Unit
from pipeline.quickstart.site.pieces import Harvest, Module
from pipeline.quickstart.site.plan import plan_site

log = logging.getLogger("loglinear.quickstart")

PAGE_SECONDS = 60.0


def read_modules(units: Sequence[Unit], work: Path, workers: int, module_seconds: float) -> dict[str, str]:
    """Read all units that no earlier attempt has read; return the modules left out, with the reasons."""
    missing = [unit for unit in units if not _harvest_path(work, unit).is_file()]
    missing.sort(key=lambda unit: -unit.source_bytes)
    with progress("reading modules", sum(len(unit.modules) for unit in missing), "modules") as shown:
        run_parallel([partial(_read_unit, unit, work, module_seconds, shown) for unit in missing], workers)
    left_out: dict[str, str] = {}
    for unit in units:
        left_out |= Harvest.read(_harvest_path(work, unit)).left_out
    return left_out


def write_pages(
    site: Path, packages: Sequence[str], units: Sequence[Unit], work: Path, workers: int
) -> list[dict[str, Any]]:
    """Write the pages of all packages that no earlier attempt has written; return their index entries."""
    missing = [package for package in packages if not (site / package).is_dir()]
    if missing:
        plan = plan_site({package: _modules(package, units, work) for package in packages})
        plan.write(work / "plan.json")
        missing.sort(key=lambda package: -len(plan.pages[package]))
        with progress(
            "writing pages", sum(len(plan.pages[package]) for package in missing), "pages"
        ) as shown:
            run_parallel(
                [partial(_write_package, site, name, units, work, shown) for name in missing], workers
            )
    return [entry for package in packages for entry in publish.read_json(_index_path(work, package))]


def _read_unit(unit: Unit, work: Path, module_seconds: float, shown: Progress) -> None:
    """Read a unit; a module that hangs or ends the process is skipped by the next attempt at the unit."""
    skip: dict[str, str] = {}
    seen: set[str] = set()

    def at(module: str) -> None:
        if module and module not in seen:
            seen.add(module)
            shown.advance()

    while True:
        request = {"modules": unit.modules, "skip": skip, "out": str(_harvest_path(work, unit).absolute())}
        try:
            return run_child("pipeline.quickstart.site.harvest", request, module_seconds, at)
        except ChildLost as lost:
            if not lost.item or lost.item in skip:
                raise StageError(f"reading {unit.name} failed: {lost.reason}\n{lost.output}") from None
            log.info("%s has no page: it %s", lost.item, lost.reason)
            skip[lost.item] = lost.reason


def _write_package(site: Path, package: str, units: Sequence[Unit], work: Path, shown: Progress) -> None:
    request = {
        "package": package,
        "harvests": [str(path.absolute()) for path in _harvest_paths(package, units, work)],
        "plan": str((work / "plan.json").absolute()),
        "index": str(_index_path(work, package).absolute()),
        "out": str((site / package).absolute()),
    }
    try:
        run_child("pipeline.quickstart.site.render", request, PAGE_SECONDS, lambda _: shown.advance())
    except ChildLost as lost:
        raise StageError(f"writing the pages of {package} failed: {lost.reason}\n{lost.output}") from None


def _modules(package: str, units: Sequence[Unit], work: Path) -> list[Module]:
    paths = _harvest_paths(package, units, work)
    return [module for path in paths for module in Harvest.read(path).modules]


def _harvest_paths(package: str, units: Sequence[Unit], work: Path) -> list[Path]:
    return [_harvest_path(work, unit) for unit in units if unit.package == package]


def _harvest_path(work: Path, unit: Unit) -> Path:
    return work / "modules" / f"{unit.name}.json"


def _index_path(work: Path, package: str) -> Path:
    return work / "pages" / f"{package}.json"
