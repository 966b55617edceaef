"""The crawl itself: links to pages, politely, every link with an outcome.

A link is one journey: hop by hop through redirects, each hop under the whole policy (scheme, port, address,
robots.txt, the host's turn), tried again where trouble may pass. Disk and bookkeeping are the caller's.
"""

import asyncio
import email.utils
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from pipeline.data.crawl import robots
from pipeline.data.crawl.addresses import AddressPolicy
from pipeline.data.crawl.bodies import identified_type, media_type
from pipeline.data.crawl.fetchlog import ELSEWHERE, STORED, Row
from pipeline.data.crawl.frontier import Frontier, Lane, Link
from pipeline.data.crawl.hosts import Host, Hosts
from pipeline.data.crawl.robots import Robots
from pipeline.data.crawl.transport import FetchError, Reply, Transport
from pipeline.data.crawl.warc import Page, digest
from pipeline.data.url import Target, UrlError, joined, target

STORED_TYPES = frozenset(["text/html", "application/xhtml+xml", "text/plain"])
_REDIRECTS = frozenset([301, 302, 303, 307, 308])
_PASSING = frozenset([408, 425, 429, 500, 502, 503, 504])  # statuses that may be gone next time
_HOST_TROUBLE = frozenset(["dns", "connect", "tls", "connection-cut", "first-byte-timeout", "total-timeout"])
_NO_CONNECTION = frozenset(["dns", "connect", "tls", "address-refused"])  # then robots.txt is not the matter
_ROBOTS_REDIRECTS = 5  # RFC 9309, section 2.3.1.2
_ROBOTS_SECONDS = 24 * 3600  # section 2.4


@dataclass(frozen=True, kw_only=True)
class Manners:
    """How a crawl behaves, apart from the limits of one request."""

    agent: str
    has_contact: bool
    concurrency: int
    host_connections: int
    max_crawl_delay_seconds: float
    redirects: int
    attempts: int
    retry_seconds: float
    max_retry_after_seconds: float
    breaker_seconds: float
    ports: frozenset[int]


class Crawler:
    """Fetches a frontier's links; `store` takes pages, `note` the rows of links that brought none.

    `owns` tells which hosts are this worker's: a link that leads to another's is left to be followed later.
    """

    def __init__(
        self,
        manners: Manners,
        policy: AddressPolicy,
        hosts: Hosts,
        transport: Transport,
        owns: Callable[[str], bool],
        store: Callable[[Page], Awaitable[None]],
        note: Callable[[Row], None],
    ):
        self._manners, self._policy, self._hosts, self._transport = manners, policy, hosts, transport
        self._owns, self._store, self._note = owns, store, note
        self._free = manners.concurrency

    async def crawl(self, frontier: Frontier) -> None:
        """Fetch every link of a frontier."""
        lanes = frontier.lanes()
        async with asyncio.TaskGroup() as group:
            for _ in range(self._manners.concurrency):
                group.create_task(self._serve(frontier, lanes))

    async def _serve(self, frontier: Frontier, lanes: Iterator[Lane]) -> None:
        for lane in lanes:
            links = frontier.links(lane)
            self._free -= 1
            extra = max(0, min(self._manners.host_connections, lane.count, self._free + 1) - 1)
            self._free -= extra
            async with asyncio.TaskGroup() as group:
                for _ in range(1 + extra):
                    group.create_task(self._work(links))
            self._free += 1 + extra

    async def _work(self, links: Iterator[Link]) -> None:
        for link in links:
            await self._journey(link)

    async def _journey(self, link: Link) -> None:
        """Fetch one link, trying again where that may help, and hand over what came of it."""
        start = time.monotonic()
        row = Row(url=link.url, canonical_url=link.canonical_url, attempts=0)
        while True:
            row["attempts"] += 1
            try:
                final, reply = await self._follow(link.url, row)
                row.update(self._stored(final, reply))
                row["seconds"] = round(time.monotonic() - start, 3)
                return await self._store(_page(final, reply, row))
            except FetchError as failure:
                if not (failure.is_transient and row["attempts"] < self._manners.attempts):
                    row["reason"], row["status"] = failure.reason, failure.status
                    row["content_type"] = failure.content_type
                    row["seconds"] = round(time.monotonic() - start, 3)
                    return self._note(row)
            # Not in step with others: a server in trouble is not helped by all coming back at once.
            pause = self._manners.retry_seconds * 2 ** (row["attempts"] - 1)
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))

    async def _follow(self, url: str, row: Row) -> tuple[Target, Reply]:
        """Return the reply at the end of a link's redirects, and where it came from."""
        for hop in range(self._manners.redirects + 1):
            try:
                place = target(url)
            except UrlError as fault:
                raise FetchError(f"redirect-{fault.reason}" if hop else fault.reason) from None
            row["final_url"] = place.href
            if hop and not self._owns(place.host):
                raise FetchError(ELSEWHERE)
            reply = await self._visit(place)
            if reply.status not in _REDIRECTS or not (location := reply.header("location")):
                return place, reply
            url = _joined(place.href, location)
        raise FetchError("too-many-redirects", status=reply.status)

    async def _visit(self, place: Target) -> Reply:
        """Make one hop with all that politeness and policy ask for."""
        self._permit(place)
        async with self._hosts.using(place.host) as host:
            if not await self._hosts.admits(host):
                raise FetchError("host-broken")
            try:
                rules = await self._rules(host, place)
                if not rules.allows(place.href):
                    raise FetchError(rules.why)
                if rules.delay_seconds > self._manners.max_crawl_delay_seconds:
                    raise FetchError("crawl-delay")
                async with self._hosts.turn(host):
                    reply = await self._transport.get(place, _is_wanted)
                if reply.status in _PASSING:
                    raise self._trouble(reply, host)
            except FetchError as failure:
                is_trouble = failure.reason in _HOST_TROUBLE or (failure.status or 0) in _PASSING
                (self._hosts.failed if is_trouble else self._hosts.succeeded)(host)
                raise
            self._hosts.succeeded(host)
            return reply

    def _permit(self, place: Target) -> None:
        if self._policy.is_private_crawl(place.host, place.port):
            return
        if place.port not in self._manners.ports:
            raise FetchError("port")
        if not self._manners.has_contact:
            raise FetchError("no-contact")

    def _trouble(self, reply: Reply, host: Host) -> FetchError:
        """Return what a status that may pass ends in, after making the host's pause if it names one."""
        seconds = retry_after(reply.header("retry-after"))
        is_short = seconds <= self._manners.max_retry_after_seconds
        self._hosts.pause(host, seconds if is_short else 0)
        return FetchError(f"http-{reply.status}", status=reply.status, is_transient=is_short)

    def _stored(self, final: Target, reply: Reply) -> Row:
        """Return the log columns of a reply that is a page; FetchError for any other."""
        declared = media_type(reply.header("content-type"))
        if reply.status != 200:
            raise FetchError(f"http-{reply.status}", status=reply.status, content_type=declared)
        if declared and declared not in STORED_TYPES:
            raise FetchError("content-type", status=reply.status, content_type=declared)
        if not reply.payload:
            raise FetchError("empty", status=reply.status, content_type=declared)
        found = identified_type(reply.payload)
        if found not in STORED_TYPES:
            raise FetchError("content-type", status=reply.status, content_type=found)
        return Row(
            final_url=final.href,
            status=reply.status,
            reason=STORED,
            content_type=declared or found,
            bytes=len(reply.payload),
            digest=digest(reply.payload),
        )

    async def _rules(self, host: Host, place: Target) -> Robots:
        """Return what the robots.txt of an origin says, asked for once a day and once at a time.

        One that could not be had is asked for again when the host's breaker lets somebody try.
        """
        clock = asyncio.get_running_loop().time()
        known = host.robots.get(place.origin)
        if known is not None and (known[0] > clock or not known[1].done()):
            return await asyncio.shield(known[1])
        answer: asyncio.Future[Robots] = asyncio.get_running_loop().create_future()
        host.robots[place.origin] = (clock + _ROBOTS_SECONDS, answer)
        try:
            rules = await self._ask_rules(place)
        except BaseException:
            answer.cancel()  # the crawl ends
            raise
        if not rules.is_reachable:
            host.robots[place.origin] = (clock + self._manners.breaker_seconds, answer)
        if rules.delay_seconds <= self._manners.max_crawl_delay_seconds:
            host.delay_seconds = max(host.delay_seconds, rules.delay_seconds)
        answer.set_result(rules)
        return rules

    async def _ask_rules(self, place: Target) -> Robots:
        """Return the rules of an origin; a failure becomes rules too, since others wait for them."""
        why = "robots-unreachable"
        for attempt in range(self._manners.attempts):
            await asyncio.sleep(self._manners.retry_seconds * 2 ** (attempt - 1) if attempt else 0)
            try:
                return await self._robots_reply(place)
            except FetchError as failure:
                if failure.reason in _NO_CONNECTION:
                    why = failure.reason
                if not failure.is_transient:
                    break
        return robots.unreachable(self._manners.agent, why)

    async def _robots_reply(self, place: Target) -> Robots:
        url = joined(place.href, "/robots.txt")
        for _ in range(_ROBOTS_REDIRECTS + 1):
            try:
                hop = target(url)
            except UrlError:
                break
            self._permit(hop)
            async with self._hosts.using(hop.host) as state, self._hosts.turn(state):
                reply = await self._transport.get(hop, _is_file, robots.MAX_BYTES + 1)
            if reply.status not in _REDIRECTS or not (location := reply.header("location")):
                rules = robots.from_reply(reply.status, reply.payload, self._manners.agent)
                if not rules.is_reachable:
                    raise self._trouble(reply, state)
                return rules
            url = _joined(hop.href, location)
        return robots.allow_all(self._manners.agent)


def retry_after(value: str) -> float:
    """Return the seconds that a `Retry-After` header asks for; 0 where it says nothing that can be read."""
    if value.strip().isdecimal():
        return float(value) if len(value) < 10 else 1e9
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _is_wanted(status: int, content_type: str) -> bool:
    declared = media_type(content_type)
    return status == 200 and (not declared or declared in STORED_TYPES)


def _is_file(status: int, _: str) -> bool:
    return status < 300


def _joined(base: str, location: str) -> str:
    try:
        return joined(base, location)
    except UrlError as fault:
        raise FetchError(f"redirect-{fault.reason}") from None


def _page(final: Target, reply: Reply, row: Row) -> Page:
    return Page(
        url=final.href,
        status=reply.status,
        phrase=reply.phrase,
        headers=reply.headers,
        payload=reply.payload,
        digest=row["digest"],
        identified_type=row["content_type"],
        log=row,
    )
