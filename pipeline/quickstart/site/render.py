"""Writes the pages of one package as HTML, in a child process.

Run as ``python -m pipeline.quickstart.site.render REQUEST`` by `quickstart.children`; REQUEST is JSON
with ``package``, ``harvests`` (paths), ``plan`` (path), ``index`` and ``out``: the file that tells about the
pages and the directory that holds them, published in this order.
"""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson

from pipeline.formats import publish
from pipeline.quickstart.children import end_with
from pipeline.quickstart.site.docstring import blocks_of
from pipeline.quickstart.site.document import Written, document, html_of
from pipeline.quickstart.site.links import Context, Linker, escape
from pipeline.quickstart.site.pages import PAGE_BYTES, Page, Part
from pipeline.quickstart.site.pieces import Harvest, Module, Piece
from pipeline.quickstart.site.plan import LEFT_OUT_PAGE, SITE_PAGE, Plan, summary

# More would be a list that nobody reads, and could fill a page by itself.
OVERVIEW = 600
MENTIONS = 200


def main() -> None:
    """Render the package of the request and publish its directory."""
    request = orjson.loads(sys.argv[1])
    end_with(request["parent"])
    gc.disable()  # large tables that live to the end
    plan = Plan.read(Path(request["plan"]))
    modules = {m.name: m for path in request["harvests"] for m in Harvest.read(Path(path)).modules}
    out = Path(request["out"])
    try:
        with publish.publishing(out) as draft:
            draft.mkdir()
            index = []
            for page in plan.pages[request["package"]]:
                written, text = render_page(page, modules, plan)
                (draft / Path(page.path).name).write_bytes(text)
                index.append(written)
                sys.stdout.write(page.path + "\n")
            publish.write_json(Path(request["index"]), index)
    except OSError:  # a killed attempt's child, not yet ended, came first with the same pages
        if not out.is_dir():
            raise
    sys.stdout.flush()
    os._exit(0)  # freeing the tables would take a second


def render_page(page: Page, modules: dict[str, Module], plan: Plan) -> tuple[Written, bytes]:
    """Return the index entry and the bytes of a page."""
    linker = Linker(plan.names, page.path)
    module = modules.get(page.module)
    body = "\n".join(_index(page, plan, linker) if module is None else _body(page, module, plan, linker))
    navigation = _navigation(page, plan, linker)
    written, text = document(page.path, page.title, f"{navigation}\n<main>\n{body}\n</main>", linker.targets)
    assert len(text) <= PAGE_BYTES, f"{page.path}: {len(text)} bytes"
    return written, text


def _index(page: Page, plan: Plan, linker: Linker) -> Iterator[str]:
    yield f"<h1>{escape(page.title)}</h1>"
    yield _list(page.below, plan, linker)
    yield f"<p>{linker.link(SITE_PAGE, 'About these pages')}</p>"
    yield f"<p>{linker.link(LEFT_OUT_PAGE, 'What was left out, and why')}</p>"


def _body(page: Page, module: Module, plan: Plan, linker: Linker) -> Iterator[str]:
    context = Context(module.name, "", module.scope)
    pieces = {piece.name: piece for piece in module.pieces}
    if page.path == plan.names.modules[module.name]:
        yield f"<h1>{'Package' if module.is_package else 'Module'} {escape(module.name)}</h1>"
        yield html_of(blocks_of(module.doc), linker, context, level=2)
    else:
        yield f"<h1>{escape(page.title)}</h1>"
    for part in page.parts:
        yield from _part(pieces[part.name], part, module, linker)
    for title, names in (
        ("Overview", page.overview[:OVERVIEW]),
        ("Documented elsewhere", page.mentions[:MENTIONS]),
    ):
        if names:
            lines = [_mention(pieces[name], context, plan, linker) for name in names]
            yield "\n".join([f"<h2>{title}</h2>", "<dl>", *lines, "</dl>"])
    if page.below:
        yield "<h2>Modules</h2>"
        yield _list(page.below, plan, linker)


def _part(piece: Piece, part: Part, module: Module, linker: Linker) -> Iterator[str]:
    context = Context(module.name, piece.name if piece.kind == "class" else "", module.scope)
    yield f'<section id="{escape(piece.name)}">' if part.start == 0 else "<section>"
    if part.start == 0:
        yield f"<h2>{'class ' if piece.kind == 'class' else ''}{escape(piece.name)}</h2>"
        yield _signature(piece, linker, context)
        if piece.bases:
            yield f"<p>A kind of {', '.join(linker.name(base) for base in piece.bases)}.</p>"
        yield html_of(blocks_of(piece.doc), linker, context, level=3)
    for member in piece.members[part.start : part.stop]:
        yield f'<h3 id="{escape(member.name)}">{escape(_last(member.name))}</h3>'
        yield _signature(member, linker, context)
        yield html_of(blocks_of(member.doc), linker, context, level=4)
    yield "</section>"


def _signature(piece: Piece, linker: Linker, context: Context) -> str:
    if not piece.signature:
        return ""
    return f"<p><code>{escape(_last(piece.name))}{linker.signature(piece.signature, context)}</code></p>"


def _mention(piece: Piece, context: Context, plan: Plan, linker: Linker) -> str:
    term = f"<dt>{linker.name(plan.names.canonical[piece.name])}</dt>"
    text = summary(piece.doc)
    return f"{term}\n<dd>{linker.text(text, context)}</dd>" if text else term


def _list(paths: list[str], plan: Plan, linker: Linker) -> str:
    lines = ["<ul>"]
    for path in paths:
        text = plan.summaries.get(path, "")
        lines.append(f"<li>{linker.link(path, plan.titles[path])}{': ' * bool(text)}{escape(text)}</li>")
    return "\n".join([*lines, "</ul>"])


def _navigation(page: Page, plan: Plan, linker: Linker) -> str:
    lines = [f"<p>{linker.link(page.up, plan.titles.get(page.up, 'All packages'))}</p>"]
    if page.siblings:
        links = [linker.link(path, plan.titles[path]) for path in page.siblings]
        lines.append(f"<p>On other pages: {', '.join(links)}</p>")
    return "\n".join(["<nav>", *lines, "</nav>"])


def _last(name: str) -> str:
    return name.rpartition(".")[2]


if __name__ == "__main__":
    main()
