"""The whole site as a plan: its pages, which belong together, and where every name is documented."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.formats import publish
from pipeline.quickstart.site.names import Names, names_of
from pipeline.quickstart.site.pages import Page, Part, plan_pages
from pipeline.quickstart.site.pieces import Module

HOME = "index.html"
# Robots are asked to stay out of this folder, so that a crawl of the site has pages it must refuse.
ABOUT = "about"
SITE_PAGE = f"{ABOUT}/this-site.html"
LEFT_OUT_PAGE = f"{ABOUT}/left-out.html"
SUMMARY_CHARACTERS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What the processes that write pages need to know of each other's."""

    names: Names
    pages: dict[str, list[Page]]  # package -> its pages, the package's index first
    titles: dict[str, str]  # path -> title
    summaries: dict[str, str]  # path -> first sentence of what is on the page

    def write(self, path: Path) -> None:
        """Publish as JSON."""
        publish.write_json(path, self)

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """Return what `write` published."""
        raw = publish.read_json(path)
        pages = {
            package: [Page(**{**page, "parts": [Part(**part) for part in page["parts"]]}) for page in pages]
            for package, pages in raw["pages"].items()
        }
        return cls(names=Names(**raw["names"]), pages=pages, titles=raw["titles"], summaries=raw["summaries"])


def plan_site(packages: Mapping[str, Sequence[Module]]) -> Plan:
    """Return the plan; `packages` has the modules of each package in order of name."""
    names = names_of(module for modules in packages.values() for module in modules)
    pages = {package: plan_pages(package, modules, names) for package, modules in packages.items()}
    for package, own in pages.items():
        own.insert(0, _join(package, own, names))
    summaries = {
        names.modules[module.name]: summary(module.doc)
        for modules in packages.values()
        for module in modules
        if module.name in names.modules
    }
    titles = {page.path: page.title for own in pages.values() for page in own}
    return Plan(names=names, pages=pages, titles=titles, summaries=summaries)


def summary(doc: str) -> str:
    """Return the first paragraph of a docstring on one line, cut at a word where it is long."""
    lines = [line for line in doc.split("\n\n", 1)[0].splitlines() if line.strip("=-~* ")]
    text = " ".join(" ".join(lines).split())
    if len(text) <= SUMMARY_CHARACTERS:
        return text
    return text[:SUMMARY_CHARACTERS].rpartition(" ")[0] + " ..."


def _join(package: str, pages: list[Page], names: Names) -> Page:
    """Point every module's page at the one above it, and return the package's index over them all."""
    index = Page(path=f"{package}/index.html", title=f"{package}: all modules", module="", up=HOME)
    by_module = {
        names.modules[page.module]: page for page in pages if page.path == names.modules[page.module]
    }
    for page in by_module.values():
        index.below.append(page.path)
        above = page.module.rpartition(".")[0]
        while above and above not in names.modules:
            above = above.rpartition(".")[0]
        page.up = names.modules.get(above, index.path)
        if above:
            by_module[page.up].below.append(page.path)
    return index
