"""One key for every URL: the canonical form, its sort key (SURT), its hash and its registered domain.

A page is known by its canonical URL from the links to the last shard, so everything that needs to tell two
addresses apart asks this module. It parses as browsers do (WHATWG, through ada): a second parser that saw
another host in the same text could be led past the address policy of the crawler.
"""

import functools
import hashlib
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import ada_url

MAX_URL_LENGTH = 2083  # what browsers and servers have long agreed to take

# Parameters that say where a visitor came from, never what the page shows.
TRACKING_PARAMETERS = frozenset(
    """
    fbclid gclid gclsrc dclid gbraid wbraid msclkid yclid ysclid twclid ttclid li_fat_id igshid igsh
    mc_cid mc_eid mkt_tok oly_anon_id oly_enc_id vero_id vero_conv wickedid rb_clickid s_cid _hsenc
    _hsmi __hssc __hstc __hsfp hsctatracking _openstat wt_mc trk_contact trk_msg trk_module trk_sid xtor
    ref_src ref_url cmpid _branch_match_id srsltid __twitter_impression
    """.split()  # noqa: SIM905 - one name a line would take a screen
)
TRACKING_PREFIXES = ("utm_", "pk_", "piwik_", "mtm_", "matomo_", "hsa_")

# What most links look like. They are canonical as they stand, which a regular expression sees ten times
# faster than a parser; `test_the_short_way_and_the_parser_agree` holds the two together.
_SIMPLE = re.compile(
    r"https?://(?:[a-z0-9-]++\.)++[a-z]{2,63}"
    r"(/[A-Za-z0-9._~!$&()*+,;=:@/-]*+)?(\?[A-Za-z0-9._~!$&()*+,;=:@/?-]*+)?(?:#[!-~]*+)?"
)
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})?")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_WWW = re.compile(r"^www\d*\.")
# Where servers write session ids, in the order in which the Internet Archive cuts them out: ASP.NET's as a
# segment of the path, `/(S(…24…))/page.aspx` or the older `/(…24…)/page.aspx`; others as parameters.
_SESSIONS_IN_PATH = tuple(
    re.compile(rf"^(.*/)\({session}\)/([^?]+\.aspx.*)$")
    for session in (r"(?:[a-z]\([0-9a-z]{24}\))+", "[0-9a-z]{24}")
)
_SESSIONS_IN_QUERY = tuple(
    re.compile(rf"^(.*){session}(?:&(.*))?$", re.IGNORECASE)
    for session in (
        "jsessionid=[0-9a-z]{32}",
        "phpsessid=[0-9a-z]{32}",
        "sid=[0-9a-z]{32}",
        "aspsessionid[a-z]{8}=[a-z]{24}",
        "cfid=[^&]+&cftoken=[^&]+",
    )
)
_SESSION_HINT = re.compile("s(?:ession)?id|cftoken", re.IGNORECASE)
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F))).replace("#", "").replace("%", "")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class UrlError(ValueError):
    """A text that is no address of a page; `reason` is the short name that counts are kept under."""

    def __init__(self, reason: str, url: str):
        super().__init__(f"{reason}: {url[:200]!r}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: `href` is what is asked for, the rest is read from it by the one parser."""

    scheme: str
    host: str  # lower case, punycode, no trailing dot; IPv6 without brackets
    port: int
    href: str

    @property
    def origin(self) -> str:
        """Return scheme, host and port: what one robots.txt speaks for."""
        return f"{self.scheme}://{self.host}:{self.port}"


def canonical(url: str) -> str:
    """Return the canonical form; `canonical(canonical(x)) == canonical(x)`. UrlError for what is no web page.

    Scheme and host in lower case, punycode, no trailing dot, no default port, no dot segments, no fragment;
    percent-escapes only where needed and in upper case; query parameters sorted, those that track dropped.
    """
    simple = _simple(url)
    if simple is None:
        return _canonical_by_parser(url)
    path, query = simple.groups()
    if query:
        return url[: simple.start(2)] + ("" if path else "/") + _canonical_query(query)
    return url[: simple.end(1)] if path else url.partition("#")[0] + "/"


def target(url: str) -> Target:
    """Return where a request for a URL goes, its query as given, its fragment dropped. Raises UrlError."""
    simple = _simple(url)
    if simple is not None and simple[1] and "#" not in url:
        scheme, _, rest = url.partition("://")
        return Target(scheme, rest.partition("/")[0], 443 if scheme == "https" else 80, url)
    parsed = _parse(url)
    host = parsed.hostname.strip("[]")
    scheme = parsed.protocol[:-1]
    port = int(parsed.port) if parsed.port else (443 if scheme == "https" else 80)
    return Target(scheme, host, port, f"{parsed.protocol}//{parsed.host}{parsed.pathname}{parsed.search}")


def joined(base: str, reference: str) -> str:
    """Return the URL that a `Location` header means on a page. Raises UrlError."""
    try:
        return str(ada_url.join_url(base, reference))
    except ValueError:
        raise UrlError("bad-url", reference) from None


def surt(canonical_url: str) -> str:
    """Return the sort-friendly key of a canonical URL: what Common Crawl's index calls `url_surtkey`.

    Host reversed and without `www.`; no scheme, hence http and https are one; path and query in lower case,
    all escapes undone that can be, session ids cut out, parameters sorted; no slash at the end. Common Crawl
    has its keys from the Internet Archive's `surt` package, whose answers these are, odd ones included.
    """
    authority, _, rest = canonical_url.partition("://")[2].partition("/")
    path, _, query = rest.partition("?")
    if query:
        query = _least_escaped(query)
        for pattern in _SESSIONS_IN_QUERY if _SESSION_HINT.search(query) else ():
            query = pattern.sub(r"\1\2", query)
        parameters = sorted(parameter.split("=", 1) for parameter in query.lower().split("&"))
        query = "&".join(map("=".join, parameters))
    return f"{_reversed_host(authority)}){_surt_path(path)}{'?' if query else ''}{query}"


def url_hash(canonical_url: str) -> int:
    """Return 64 bits of blake2b: the order of links and documents everywhere."""
    return int.from_bytes(hashlib.blake2b(canonical_url.encode(), digest_size=8).digest(), "big")


def registered_domain(host: str) -> str:
    """Return what somebody registered (`bbc.co.uk` of `news.bbc.co.uk`); an address is itself."""
    found = str(_suffixes()(host).top_domain_under_public_suffix)
    if found or ":" in host or host.rpartition(".")[2].isdecimal():
        return found or host
    return ".".join(host.split(".")[-2:])  # a suffix nobody listed is one label, says publicsuffix.org


@functools.cache
def _suffixes() -> Any:
    import tldextract

    # The list inside the wheel, never one from the network: partitions must not change from day to day.
    return tldextract.TLDExtract(cache_dir=None, suffix_list_urls=(), fallback_to_snapshot=True)


def _parse(url: str) -> ada_url.URL:
    """Return the parsed URL of a page with a bare host; UrlError names what else it is."""
    text = url.strip()
    if len(text) > MAX_URL_LENGTH:
        raise UrlError("url-too-long", url)
    if _CONTROL.search(text.replace(" ", "")):
        raise UrlError("bad-url", url)  # parsers disagree on what a tab or a line end inside means
    try:
        parsed = ada_url.URL(text)
        if parsed.hostname.endswith("."):
            # Parsed again: without its dot a host may be an address in disguise (`1.2.3..`).
            parsed.hostname = parsed.hostname.rstrip(".") or "."
            parsed = ada_url.URL(parsed.href)
    except (ValueError, UnicodeError):
        raise UrlError("bad-url", url) from None
    if parsed.protocol not in ("http:", "https:"):
        raise UrlError("not-http", url)
    if parsed.username or parsed.password:
        raise UrlError("credentials", url)
    if not parsed.hostname or parsed.hostname.endswith("."):
        raise UrlError("bad-url", url)
    return parsed


def _simple(url: str) -> re.Match[str] | None:
    """Return the path and query of a URL that needs no parser: no segments of dots, no name in punycode."""
    if len(url) >= MAX_URL_LENGTH or "/." in url or "xn--" in url:
        return None
    return _SIMPLE.fullmatch(url)


def _canonical_by_parser(url: str) -> str:
    parsed = _parse(url)
    path = _PERCENT.sub(_normal_escape, parsed.pathname)
    href = f"{parsed.protocol}//{parsed.host}{path}{_canonical_query(parsed.search)}"
    if len(href) > MAX_URL_LENGTH:
        raise UrlError("url-too-long", url)
    return href


def _canonical_query(search: str) -> str:
    """Return a query with its parameters sorted and without those that track; empty if none are left."""
    if len(search) < 2:
        return ""
    parameters = [_PERCENT.sub(_normal_escape, parameter) for parameter in search[1:].split("&")]
    kept = sorted(parameter for parameter in parameters if parameter and not _tracks(parameter))
    return "?" + "&".join(kept) if kept else ""


def _tracks(parameter: str) -> bool:
    name = parameter.partition("=")[0].lower()
    return name in TRACKING_PARAMETERS or name.startswith(TRACKING_PREFIXES)


def _normal_escape(match: re.Match[str]) -> str:
    digits = match[1]
    if digits is None:
        return "%25"  # a bare percent sign: left alone, it could join what comes after into an escape
    character = chr(int(digits, 16))
    return character if character in _UNRESERVED else f"%{digits.upper()}"


@functools.lru_cache(maxsize=1 << 16)  # few hosts have most links
def _reversed_host(authority: str) -> str:
    """Return `com,example:8080` of `www.example.com:8080`; addresses are turned round like names."""
    host, _, port = authority.rpartition(":")
    if not port.isdecimal():  # no port, or the end of an IPv6 address
        host, port = authority, "0"
    host = _WWW.sub("", host.strip("[]").replace("..", ".").strip("."))
    return ",".join(host.split(".")[::-1]) + (f":{port}" if port != "0" else "")


def _surt_path(path: str) -> str:
    """Return a path, given without its first slash, as it stands in a sort key."""
    path = f"/{_least_escaped(path)}".lower()
    if "//" in path or "/." in path:  # dots may come out of doubled escapes
        path = "/" + _without_dots(path[1:])
    for pattern in _SESSIONS_IN_PATH if "(" in path else ():
        path = pattern.sub(r"\1\2", path)
    return path if path == "/" else path.removesuffix("/")


def _without_dots(path: str) -> str:
    """Return a path without dot segments and empty ones; its last segment stays even if empty."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == ".." and kept:
            kept.pop()
        elif segment != ".":
            kept.append(segment)
    return "/".join([segment for segment in kept[:-1] if segment] + kept[-1:])


def _least_escaped(text: str) -> str:
    """Undo escapes until none is left, then escape what cannot stand in a URL."""
    if "%" not in text:
        return text
    plain = text.encode()
    while (once := unquote_to_bytes(plain)) != plain:
        plain = once
    return quote_from_bytes(plain, safe=_PRINTABLE)
