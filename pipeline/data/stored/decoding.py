"""From the bytes of a page to its text, the way browsers find the encoding (WHATWG HTML, 13.2.3.2)."""

from __future__ import annotations

import codecs
import re

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
# What the standard means by these labels holds more characters than Python's codecs of the same names.
_WIDER = {
    "big5": "big5hkscs",
    "euc_kr": "cp949",
    "gbk": "gb18030",
    "iso8859-11": "cp874",
    "shift_jis": "cp932",
}
_META = re.compile(rb"<meta[^>]{0,500}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.\-]{1,40})", re.IGNORECASE)
_PRESCAN_BYTES = 1024


def decode(page: bytes, http_charset: str | None) -> str:
    """Return the text of a page; what cannot be decoded becomes U+FFFD, and nothing raises.

    In order: byte order mark, charset of the HTTP header, `<meta charset>` in the first 1,024 bytes, UTF-8 if
    the bytes are valid UTF-8, else the detector's guess. Labels are the standard's own, never Python's, whose
    codecs include some that are no encodings of text at all (`zlib`, `unicode_escape`).
    """
    for mark, encoding in _BOMS:
        if page.startswith(mark):
            return page[len(mark) :].decode(encoding, errors="replace")
    encoding = _known(http_charset) or _known(_declared(page)) or _guessed(page)
    return page.decode(encoding, errors="replace")


def _known(label: str | None) -> str | None:
    """Return Python's name of a WHATWG encoding label, or None if the standard does not know the label."""
    from resiliparse.parse.encoding import map_encoding_to_html5

    if not label or not label.isascii():
        return None
    found = map_encoding_to_html5(label.strip().lower(), fallback_utf8=False)
    return _WIDER.get(found, found) if found else None


def _declared(page: bytes) -> str | None:
    found = _META.search(page[:_PRESCAN_BYTES])
    label = found[1].decode("ascii") if found else None
    # A page that says UTF-16 in ASCII bytes is not UTF-16 (the standard says so too).
    return "utf-8" if label and label.lower().startswith("utf-16") else label


def _guessed(page: bytes) -> str:
    from resiliparse.parse.encoding import detect_encoding

    try:
        page.decode("utf-8")
    except UnicodeDecodeError:
        return _known(detect_encoding(page)) or "cp1252"
    return "utf-8"
