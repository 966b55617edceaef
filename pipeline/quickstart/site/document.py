"""The HTML of a page: its frame, and the blocks of docstrings inside it."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.quickstart.site.docstring import Block
from pipeline.quickstart.site.links import Context, Linker, escape, unmarked


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What the site's index says of a page."""

    path: str
    title: str
    sha256: str
    html_bytes: int
    links: list[str]  # paths of the other pages it links to


def document(path: str, title: str, body: str, links: Iterable[str]) -> tuple[Written, bytes]:
    """Return the index entry and the bytes of a whole HTML document."""
    text = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(title)}</title>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    ).encode()
    written = Written(
        path=path,
        title=title,
        sha256=hashlib.sha256(text).hexdigest(),
        html_bytes=len(text),
        links=sorted(set(links) - {path}),
    )
    return written, text


def html_of(blocks: Iterable[Block], linker: Linker, context: Context, level: int) -> str:
    """Return blocks as HTML; their headings are `<hLEVEL>`."""
    lines: list[str] = []
    opened = ""
    for block in blocks:
        wanted = {"term": "dl", "reference": "dl", "item": "ul"}.get(block.kind, "")
        if opened != wanted:
            lines += [f"</{opened}>"] * bool(opened) + [f"<{wanted}>"] * bool(wanted)
            opened = wanted
        lines.append(_block(block, linker, context, level))
    return "\n".join([*lines, f"</{opened}>"] if opened else lines)


def _block(block: Block, linker: Linker, context: Context, level: int) -> str:
    inner = html_of(block.inner, linker, context, level) if block.inner else ""
    if block.kind == "term":
        name, colon, kind = block.text.partition(" : ")
        text = f"{escape(name)} : {linker.type(kind, context)}" if colon else linker.type(name, context)
        return f"<dt><code>{text}</code></dt>" + (f"\n<dd>{inner}</dd>" if inner else "")
    if block.kind == "reference":
        name, *rest = re.split(r" ?: ", unmarked(block.text), maxsplit=1)
        text = "".join(rest)
        about = f"\n<dd><p>{linker.text(text, context)}</p></dd>" if text else ""
        return f"<dt><code>{linker.names(name, context)}</code></dt>{about}"
    text = linker.text(block.text, context)
    if block.kind == "heading":
        return f"<h{level}>{text}</h{level}>"
    if block.kind == "code":
        return f"<pre>{text}</pre>"
    if block.kind == "item":
        return f"<li>{text}\n{inner}</li>" if inner else f"<li>{text}</li>"
    return f"<p>{text}</p>"
