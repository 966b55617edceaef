"""Manners towards one host: how many requests at once, how far apart, and when to leave it alone."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pipeline.data.crawl.robots import Robots


@dataclass(slots=True)
class Host:
    """What is known of one host while requests to it may come."""

    gate: asyncio.Semaphore
    delay_seconds: float
    next_start: float = 0.0  # on the event loop's clock
    paused_until: float = 0.0
    failures: int = 0  # one after the other
    closed_until: float = 0.0  # by the breaker
    is_given_up: bool = False
    users: int = 0
    robots: dict[str, tuple[float, asyncio.Future[Robots]]] = field(default_factory=dict)  # by origin


class Hosts:
    """All hosts in use, and a bounded number of those used last."""

    def __init__(
        self,
        *,
        connections: int,
        delay_seconds: float,
        breaker_failures: int,
        breaker_seconds: float,
        remembered: int = 10_000,
    ):
        self._connections, self._delay, self._remembered = connections, delay_seconds, remembered
        self._breaker_failures, self._breaker_seconds = breaker_failures, breaker_seconds
        self._hosts: OrderedDict[str, Host] = OrderedDict()

    @asynccontextmanager
    async def using(self, name: str) -> AsyncIterator[Host]:
        """Hold on to a host's state for the time of a visit."""
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = Host(asyncio.Semaphore(self._connections), self._delay)
            self._forget()
        self._hosts.move_to_end(name)
        host.users += 1
        try:
            yield host
        finally:
            host.users -= 1

    @asynccontextmanager
    async def turn(self, host: Host) -> AsyncIterator[None]:
        """Wait until one more request to the host is polite, and keep its place while it runs."""
        clock = asyncio.get_running_loop().time
        async with host.gate:
            # A turn is taken when its time has come and not before: those that wait out a pause together
            # would all go at its end.
            while (wait := max(host.next_start, host.paused_until) - clock()) > 0:
                await asyncio.sleep(wait)
            host.next_start = clock() + host.delay_seconds
            yield

    def pause(self, host: Host, seconds: float) -> None:
        """Send nothing to the host for so long."""
        host.paused_until = max(host.paused_until, asyncio.get_running_loop().time() + seconds)

    async def admits(self, host: Host) -> bool:
        """Wait until the host's breaker lets somebody through; False if the host is given up."""
        clock = asyncio.get_running_loop().time
        while not host.is_given_up and (wait := host.closed_until - clock()) > 0:
            await asyncio.sleep(wait)
        return not host.is_given_up

    def succeeded(self, host: Host) -> None:
        """Note that the host answered."""
        host.failures = 0

    def failed(self, host: Host) -> None:
        """Note that a request failed because the host did.

        After too many in a row the host gets a pause; if the first requests after it fail too, it is given
        up.
        """
        host.failures += 1
        now = asyncio.get_running_loop().time()
        if host.failures == self._breaker_failures:
            host.closed_until = now + self._breaker_seconds
        elif host.failures > self._breaker_failures and now >= host.closed_until:
            host.is_given_up = True

    def _forget(self) -> None:
        while len(self._hosts) > self._remembered:
            name = next((name for name, host in self._hosts.items() if not host.users), None)
            if name is None:
                return
            del self._hosts[name]
