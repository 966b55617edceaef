"""The pages that belong to no package: the way in, robots.txt, and two about the site itself."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.formats import publish
from pipeline.quickstart.site.document import Written, document
from pipeline.quickstart.site.links import Linker, escape
from pipeline.quickstart.site.names import Names
from pipeline.quickstart.site.plan import ABOUT, HOME, LEFT_OUT_PAGE, SITE_PAGE

_ROBOTS = f"User-agent: *\nDisallow: /{ABOUT}/\n"
_PURPOSE = """These pages hold the documentation of the Python packages installed on this machine: what
their authors wrote into the docstrings of modules, classes and functions, in the order and by the rules of
visibility of Python's own pydoc. A thing that several modules show is documented in full on one page and
mentioned on the others. Names that have a page are linked where they first occur. Tests are left out, and
so is every module that cannot be imported without doing something."""


def write_front(site: Path, versions: Mapping[str, str], left_out: Mapping[str, str]) -> list[Written]:
    """Publish the pages of no package and robots.txt; return the index entries of the pages."""
    publish.write_text(site / "robots.txt", _ROBOTS)
    purpose = f"<p>{escape(' '.join(_PURPOSE.split()))}</p>"
    return [
        _write(site, HOME, "Documentation of Python packages", purpose, _packages(versions)),
        _write(site, SITE_PAGE, "About these pages", purpose, _packages(versions)),
        _write(site, LEFT_OUT_PAGE, "What was left out, and why", _reasons(left_out), {}),
    ]


def _packages(versions: Mapping[str, str]) -> dict[str, str]:
    return {f"{package}/index.html": package for package in versions}


def _reasons(left_out: Mapping[str, str]) -> str:
    items = [f"<li>{escape(module)}: {escape(reason)}</li>" for module, reason in sorted(left_out.items())]
    return "\n".join(["<p>These modules have no page:</p>", "<ul>", *items, "</ul>"])


def _write(site: Path, path: str, title: str, text: str, links: Mapping[str, str]) -> Written:
    linker = Linker(Names(canonical={}, bases={}, silent={}), path)
    home = "" if path == HOME else f"<nav><p>{linker.link(HOME, 'All packages')}</p></nav>\n"
    items = "\n".join(f"<li>{linker.link(target, name)}</li>" for target, name in links.items())
    listing = f"\n<ul>\n{items}\n</ul>" if links else ""
    if path == HOME:
        about = (linker.link(SITE_PAGE, "About these pages"), linker.link(LEFT_OUT_PAGE, "What was left out"))
        listing += "".join(f"\n<p>{link}</p>" for link in about)
    body = f"{home}<main>\n<h1>{escape(title)}</h1>\n{text}{listing}\n</main>"
    written, data = document(path, title, body, linker.targets)
    publish.write_bytes(site / path, data)
    return written
