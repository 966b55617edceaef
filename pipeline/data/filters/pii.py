"""Mask e-mail addresses and public IPv4 addresses; no document is dropped.

The same kinds of personal data as datatrove's PIIFormatter, with patterns of our own: its pattern for e-mail
takes time quadratic in the length of a line without blanks (7 s for 16 kB), and its replacements take turns,
so that a document's text would depend on the documents before it. Private addresses stay: they tell nothing
of anybody.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections import Counter
from typing import Any

from pipeline.config import Schema, identity

KEEPS = ["Write to jane.doe@example.net, or look at the router on 192.168.0.1."]
DROPS: list[tuple[str, str]] = []

# A name may have 64 characters and a label 63 (RFC 5321, 4.5.3.1); each run of characters is tried once.
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]"
)
_IPV4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?!\w|\.\w)")


class Config(Schema):
    """What is masked, and by what; names that nobody can own (RFC 2606, RFC 5737)."""

    emails: bool = identity(True, description="mask e-mail addresses")
    ip_addresses: bool = identity(True, description="mask public IPv4 addresses")
    email_mask: str = identity("email@example.com")
    ip_address_mask: str = identity("192.0.2.1")

    def build(self) -> Any:
        """Return the filter's step, which counts what it masks."""
        from pipeline.data.rule import Rule

        sums: Counter[str] = Counter()
        return Rule("pii", functools.partial(self.mask, sums=sums), sums)

    def mask(self, document: Any, sums: Counter[str]) -> None:
        """Mask the text of a document."""
        if self.emails and "@" in document.text:
            document.text, times = _EMAIL.subn(lambda _: self.email_mask, document.text)
            sums["emails"] += times
        if self.ip_addresses:
            document.text = _IPV4.sub(functools.partial(self._mask_public, sums=sums), document.text)

    def _mask_public(self, match: re.Match[str], sums: Counter[str]) -> str:
        from pipeline.data.crawl.addresses import is_public

        try:
            address = ipaddress.IPv4Address(match[0])
        except ValueError:
            return match[0]
        if not is_public(address):
            return match[0]
        sums["ip_addresses"] += 1
        return self.ip_address_mask
