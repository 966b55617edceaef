"""Pieces of large files: ranges of files on web servers, or of those below a folder.

A server that is asked for a range may send the whole file, another piece or an apology; none of these is
taken for what was asked. Requests go as fast as the server answers until it is in trouble, and then one by
one with growing pauses, until it answers again.
"""

import asyncio
import os
import re
from pathlib import Path
from typing import Protocol, Self

import aiohttp
from yarl import URL

from pipeline.data.crawl.addresses import AddressPolicy, AddressRefusedError, CheckedResolver
from pipeline.data.crawl.crawler import retry_after
from pipeline.errors import StageError

_PASSING = frozenset([408, 425, 429, 500, 502, 503, 504])
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_MAX_SPACING_SECONDS = 60.0
_MAX_WAIT_SECONDS = 600.0  # that a server can ask for by Retry-After


class RangeError(Exception):
    """A range that could not be read; `reason` is the short name for the log."""

    def __init__(self, reason: str, detail: str = "", *, is_transient: bool = False, wait_seconds: float = 0):
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.is_transient, self.wait_seconds = reason, is_transient, wait_seconds


class Ranges(Protocol):
    """Files by name, of which pieces can be read; an asynchronous context."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def read(self, name: str, offset: int, length: int) -> bytes:
        """Return exactly these bytes. Raises RangeError."""


class FolderRanges:
    """The files below a folder."""

    def __init__(self, folder: Path):
        self._folder = folder

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def read(self, name: str, offset: int, length: int) -> bytes:
        """Return exactly these bytes. Raises RangeError."""
        path = (self._folder / name).resolve()
        if not path.is_relative_to(self._folder.resolve()) or not path.is_file():
            raise RangeError("no-file", f"{name}: no file below {self._folder}")
        with path.open("rb") as file:
            data = os.pread(file.fileno(), length, offset)
        if len(data) != length:
            raise RangeError("range-cut", f"{name} ends after {len(data)} of {length} bytes at {offset}")
        return data


class HttpRanges:
    """The files of web servers; names are URLs, or what follows `base` in them."""

    def __init__(
        self,
        policy: AddressPolicy,
        user_agent: str,
        *,
        base: str = "",
        connections: int,
        attempts: int,
        spacing_seconds: float,
        total_seconds: float,
    ):
        self._policy, self._base, self._attempts, self._seconds = policy, base, attempts, total_seconds
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
        self._connections, self._spacing_seconds = connections, spacing_seconds

    async def __aenter__(self) -> Self:
        self._gate = _Gate(self._spacing_seconds)
        self._resolver = CheckedResolver(self._policy, aiohttp.DefaultResolver())
        connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            socket_factory=self._policy.open_socket,
            limit=self._connections,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=self._seconds),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._resolver.close()

    async def read(self, name: str, offset: int, length: int) -> bytes:
        """Return exactly these bytes. Raises RangeError, and StageError for an address that is refused."""
        data, _ = await self._asked(name, offset, length)
        return data

    async def size(self, name: str) -> int:
        """Return the size of a file. Raises RangeError."""
        _, size = await self._asked(name, 0, 1)
        return size

    async def _asked(self, name: str, offset: int, length: int) -> tuple[bytes, int]:
        """Return a range and the size of the file it is of, trying again where that may help."""
        for attempt in range(1, self._attempts + 1):
            await self._gate.enter()
            sent = asyncio.get_running_loop().time()
            try:
                answer = await self._ask(self._base + name, offset, length)
            except RangeError as fault:
                if fault.is_transient:
                    self._gate.trouble(sent, fault.wait_seconds)
                if not fault.is_transient or attempt == self._attempts:
                    raise
            else:
                self._gate.well()
                return answer
        raise AssertionError("no attempts")

    async def _ask(self, url: str, offset: int, length: int) -> tuple[bytes, int]:
        last = offset + length - 1
        try:
            async with self._session.get(
                URL(url, encoded=True), headers={"Range": f"bytes={offset}-{last}"}, allow_redirects=False
            ) as response:
                try:
                    size = _checked(response, offset, last)
                    return await response.content.readexactly(length), size
                except BaseException:
                    response.close()  # what else comes is not wanted: it may be the whole file
                    raise
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as fault:
            refused = _refused(fault)
            if refused:
                raise StageError(f"{url}: {refused}; name it in commoncrawl.allow if it is yours") from None
            raise RangeError(_reason(fault), str(fault), is_transient=True) from None


class _Gate:
    """Lets requests through: at once while the server is well, else one by one."""

    def __init__(self, least_seconds: float):
        self._least, self._spacing, self._since, self._next = least_seconds, 0.0, 0.0, 0.0
        self._turn = asyncio.Lock()

    async def enter(self) -> None:
        """Wait until a request may be sent."""
        if not self._spacing:
            return
        async with self._turn:
            await asyncio.sleep(self._next - asyncio.get_running_loop().time())
            self._next = asyncio.get_running_loop().time() + self._spacing

    def trouble(self, sent: float, wait_seconds: float) -> None:
        """Slow down for a request that failed; of several under way at once only the first counts."""
        if sent >= self._since:
            self._since = asyncio.get_running_loop().time()
            self._spacing = min(_MAX_SPACING_SECONDS, max(self._least, 2 * self._spacing))
            self._next = self._since + max(self._spacing, min(wait_seconds, _MAX_WAIT_SECONDS))

    def well(self) -> None:
        """Speed up again."""
        self._spacing = self._spacing / 2 if self._spacing > self._least else 0.0


def _checked(response: aiohttp.ClientResponse, offset: int, last: int) -> int:
    """Return the size of the file if these are the bytes that were asked for. Raises RangeError."""
    if response.status in _PASSING:
        seconds = retry_after(response.headers.get("Retry-After", ""))
        raise RangeError(f"http-{response.status}", is_transient=True, wait_seconds=seconds)
    if response.status == 200:
        raise RangeError("range-ignored", "the server answers with the whole file")
    if response.status != 206:
        raise RangeError(f"http-{response.status}")
    sent = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if sent is None or (int(sent[1]), int(sent[2])) != (offset, last):
        detail = f"{response.headers.get('Content-Range')!r} instead of {offset}-{last}"
        raise RangeError("range-wrong", detail)
    return int(sent[3])


def _reason(fault: Exception) -> str:
    if isinstance(fault, TimeoutError):
        return "total-timeout"
    return "connect" if isinstance(fault, aiohttp.ClientConnectorError) else "connection-cut"


def _refused(fault: BaseException | None) -> AddressRefusedError | None:
    while fault is not None and not isinstance(fault, AddressRefusedError):
        fault = getattr(fault, "os_error", None) or fault.__cause__ or fault.__context__
    return fault
