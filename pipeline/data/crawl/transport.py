"""One HTTP request under every limit: time, rate, header and body size, and the address policy.

aiohttp speaks the protocol; redirects, decoding, cookies, proxies and retries are not left to it.
"""

import asyncio
import errno
import functools
import logging
import re
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from pipeline.data.crawl.addresses import AddressPolicy, AddressRefusedError, CheckedResolver, as_address
from pipeline.data.crawl.bodies import ACCEPT_ENCODING, Body, BodyRefusedError
from pipeline.data.url import Target

_RATE_GRACE_SECONDS = 10.0
_DRAINED_BYTES = 1 << 16  # of a body nobody wants: reading so much is cheaper than a new connection
_DNS_SECONDS = 300
_TOO_LARGE = re.compile(r"more than|too many headers", re.IGNORECASE)  # in aiohttp's messages
OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
_MOST_INTERIM = 16  # replies before the reply
_ACCEPT = "text/html,application/xhtml+xml,text/plain;q=0.8,*/*;q=0.1"

log = logging.getLogger("loglinear.data")


class FetchError(Exception):
    """A request that brought no page: the reason for the log, and whether to try again."""

    def __init__(
        self,
        reason: str,
        *,
        is_transient: bool = False,
        status: int | None = None,
        content_type: str = "",
    ):
        super().__init__(reason)
        self.reason, self.is_transient = reason, is_transient
        self.status, self.content_type = status, content_type


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request may take."""

    connect_seconds: float
    first_byte_seconds: float
    total_seconds: float
    min_bytes_per_second: float
    header_bytes: int
    body_bytes: int
    ratio: float


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; `payload` is inflated, and empty where nobody wanted it."""

    status: int
    phrase: str
    headers: list[tuple[str, str]]
    payload: bytes

    def header(self, name: str) -> str:
        """Return the first value of a header, or an empty text."""
        return next((value for key, value in self.headers if key.lower() == name), "")


Wanted = Callable[[int, str], bool]  # status and Content-Type -> whether to read the body


class Transport:
    """The connections of one worker; use as an asynchronous context."""

    def __init__(self, limits: Limits, policy: AddressPolicy, user_agent: str):
        self._limits, self._policy = limits, policy
        self._headers = {"User-Agent": user_agent, "Accept": _ACCEPT, "Accept-Encoding": ACCEPT_ENCODING}

    async def __aenter__(self) -> Self:
        resolver = CheckedResolver(self._policy, aiohttp.ThreadedResolver())
        connector = _Connector(
            resolver=resolver,
            socket_factory=self._policy.open_socket,
            ssl=ssl.create_default_context(),
            ttl_dns_cache=_DNS_SECONDS,
            limit=0,  # the crawler bounds them; a queue here would run against its clocks
            keepalive_timeout=15,
        )
        self._resolver = resolver
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._limits.connect_seconds),
            max_field_size=min(self._limits.header_bytes, 8190),
            max_line_size=8190,
        )
        # aiohttp would ask a second time at once where a connection is cut, past the host's turn and delay.
        self._session._retry_connection = False
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._resolver.close()

    async def get(self, target: Target, wanted: Wanted, first_bytes: int | None = None) -> Reply:
        """Return the answer to one request, redirects not followed; of a body only the start if so told.

        Raises FetchError.
        """
        try:
            self._check(target)
            return await self._get(target, wanted, first_bytes)
        except BodyRefusedError as refused:
            raise FetchError(refused.reason) from None
        except FetchError:
            raise
        except Exception as fault:  # a server that finds a hole in the client must not end the crawl
            raise _failure(fault, target) from None

    async def _get(self, target: Target, wanted: Wanted, first_bytes: int | None) -> Reply:
        url = URL(target.href, encoded=True)
        if (url.raw_host or "").rstrip(".") != target.host:
            raise FetchError("bad-url")  # the two parsers do not see the same host
        start, response = asyncio.get_running_loop().time(), None
        try:
            async with asyncio.timeout_at(start + self._limits.first_byte_seconds) as deadline:
                response = await self._session.get(url, allow_redirects=False)
                deadline.reschedule(start + self._limits.total_seconds)
                return await self._read(response, wanted, first_bytes)
        except TimeoutError:
            reason = "first-byte-timeout" if response is None else "total-timeout"
            raise FetchError(reason, is_transient=True) from None
        finally:
            if response is not None:
                response.release()  # closes the connection unless the whole body was read

    async def _read(self, response: aiohttp.ClientResponse, wanted: Wanted, first_bytes: int | None) -> Reply:
        raw = response.raw_headers
        if sum(len(name) + len(value) for name, value in raw) > self._limits.header_bytes:
            raise FetchError("headers-too-large", status=response.status)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw]
        if wanted(response.status, response.headers.get("Content-Type", "")):
            payload = await self._payload(response, first_bytes)
        else:
            payload = await self._drained(response)
        return Reply(response.status, response.reason or "", headers, payload)

    async def _payload(self, response: aiohttp.ClientResponse, first_bytes: int | None) -> bytes:
        encoding = response.headers.get("Content-Encoding", "")
        max_bytes = self._limits.body_bytes
        if first_bytes is None and (response.content_length or 0) > max_bytes:
            raise BodyRefusedError("body-too-large")
        body = Body(encoding, max_bytes=max_bytes, max_ratio=self._limits.ratio)
        clock = asyncio.get_running_loop().time
        start = clock()
        while chunk := await response.content.readany():
            body.add(chunk)
            if first_bytes is not None and len(body) >= first_bytes:
                return body.start()[:first_bytes]
            seconds = clock() - start
            if (
                seconds > _RATE_GRACE_SECONDS
                and body.wire_bytes < seconds * self._limits.min_bytes_per_second
            ):
                raise FetchError("too-slow", status=response.status)
        return body.payload()

    async def _drained(self, response: aiohttp.ClientResponse) -> bytes:
        """Read a short body to its end, so that the connection serves the next request."""
        if response.content_length is not None and response.content_length <= _DRAINED_BYTES:
            while await response.content.readany():
                pass
        return b""

    def _check(self, target: Target) -> None:
        """Refuse a literal address before anything is opened; names are checked as they are resolved."""
        if as_address(target.host) is not None:
            self._policy.check(target.host, target.port)


class _Connector(aiohttp.TCPConnector):
    """Connections that do not listen to interim replies (100, 102, 103) without end."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self._factory: Any = functools.partial(_Protocol, loop=self._loop)


class _Protocol(ResponseHandler):
    _interim = 0

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take one parsed reply."""
        is_interim = 100 <= data[0].code < 200
        self._interim = self._interim + 1 if is_interim else 0
        if self._interim <= _MOST_INTERIM:
            super().feed_data(data, size)
        elif self._interim == _MOST_INTERIM + 1:
            self.close()
            self.set_exception(HttpProcessingError(message="too many headers: interim replies", code=400))


# In this order: the first that fits.
_FAILURES: tuple[tuple[Any, str, bool], ...] = (  # type, reason, whether it may pass
    (aiohttp.ClientConnectorDNSError, "dns", True),
    (aiohttp.ClientSSLError, "tls", False),
    (aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError, "connect", True),
    (ValueError, "bad-url", False),  # aiohttp.InvalidURL is one too
    (aiohttp.ClientResponseError | aiohttp.EofStream, "bad-response", False),
    (aiohttp.ClientError | OSError, "connection-cut", True),
)


def _failure(fault: Exception, target: Target) -> FetchError:
    """Return the reason of a fault that is the server's; raises those that are this machine's."""
    for cause in _causes(fault):
        if isinstance(cause, AddressRefusedError):
            return FetchError("address-refused")
        if isinstance(cause, OSError) and cause.errno in OUT_OF_FILES:
            raise cause
    if isinstance(fault, aiohttp.ClientResponseError) and _TOO_LARGE.search(fault.message):
        return FetchError("headers-too-large")
    for kind, reason, may_pass in _FAILURES:
        if isinstance(fault, kind):
            return FetchError(reason, is_transient=may_pass)
    log.warning("%s: unforeseen %r", target.href, fault)
    return FetchError("bad-response")


def _causes(fault: BaseException | None) -> Iterator[Any]:
    while fault is not None:
        yield fault
        fault = getattr(fault, "os_error", None) or fault.__cause__ or fault.__context__
