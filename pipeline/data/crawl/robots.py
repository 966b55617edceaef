"""robots.txt by RFC 9309: what a server's answer to the request for it means, and what it allows.

Section 2.3.1: a file that answers is obeyed, "unavailable" (4xx, endless redirects) allows everything, and
"unreachable" (5xx, no answer) forbids everything for now. 429 is read as unreachable: the server asks to be
left alone.
"""

import math
from typing import Any

MAX_BYTES = 500 * 1024  # section 2.5: more need not be read


class Robots:
    """The rules of one origin for one crawler."""

    def __init__(self, rules: Any, agent: str, *, is_reachable: bool = True, why: str = "robots"):
        self._rules, self._agent = rules, agent
        self.is_reachable = is_reachable
        self.why = why  # the reason for the log where a URL may not be asked for
        asked = rules.crawl_delay(agent) if rules is not None else None
        self.delay_seconds = 0.0 if asked is None or math.isnan(asked) else max(0.0, float(asked))

    def allows(self, url: str) -> bool:
        """Tell whether a URL may be asked for now."""
        if not self.is_reachable:
            return False
        return self._rules is None or bool(self._rules.can_fetch(url, self._agent))


def allow_all(agent: str) -> Robots:
    """Return the rules of a server that has no robots.txt."""
    return Robots(None, agent)


def unreachable(agent: str, why: str = "robots-unreachable") -> Robots:
    """Return the rules of a server whose robots.txt cannot be had now."""
    return Robots(None, agent, is_reachable=False, why=why)


def from_reply(status: int, body: bytes, agent: str) -> Robots:
    """Return the rules that an answer to the request for robots.txt means."""
    if 200 <= status < 300:
        return parse(body, agent)
    return unreachable(agent) if status >= 500 or status == 429 else allow_all(agent)


def parse(body: bytes, agent: str) -> Robots:
    """Return the rules of a robots.txt; of a long one the first 500 KiB count."""
    from protego import Protego

    # Protego does not see the first rule behind a byte order mark.
    text = body[:MAX_BYTES].removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").lstrip("\ufeff")
    if len(body) > MAX_BYTES:
        text = text.rpartition("\n")[0]  # half a path would forbid more than was meant, or less
    return Robots(Protego.parse(text.replace("\0", "")), agent)
