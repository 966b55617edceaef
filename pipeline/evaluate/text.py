"""The text of a reply while its ids come: in whole characters, and ending before a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class ReplyText:
    """A text that grows by bytes, and is `over` once a stop string has come up in it or it is closed.

    Stop strings are looked for in the text and not in the ids, so it does not matter how ids cut them; what
    may yet turn out to be the beginning of one is held back.
    """

    def __init__(self, stop: Sequence[str] = ()):
        self.over = False
        self._stop = stop
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._certain, self._held = "", ""

    def add(self, content: bytes) -> None:
        """Let the text grow; bytes may break off within a character, and what is not UTF-8 becomes U+FFFD."""
        self._grow(self._decoder.decode(content))

    def close(self) -> None:
        """End the text here: what was held back belongs to it."""
        if not self.over:
            self._grow(self._decoder.decode(b"", final=True))
        if not self.over:
            self._certain += self._held
            self.over = True

    def take(self) -> str:
        """Return the text that is certain and was not taken yet."""
        taken, self._certain = self._certain, ""
        return taken

    def _grow(self, text: str) -> None:
        self._held += text
        end = _stop_in(self._held, self._stop)
        if end is not None:
            self.over = True
        else:
            end = len(self._held) - _beginning_of_stop(self._held, self._stop)
        self._certain += self._held[:end]
        self._held = self._held[end:]


def _stop_in(text: str, stop: Sequence[str]) -> int | None:
    """Return where a stop string begins: of several the one that is complete first, then the longest."""
    places = [(place + len(each), place) for each in stop if (place := text.find(each)) >= 0]
    return min(places)[1] if places else None


def _beginning_of_stop(text: str, stop: Sequence[str]) -> int:
    """Return how many characters at the end of a text may begin a stop string."""
    beginnings = (each[:length] for each in stop for length in range(1, len(each)))
    return max((len(each) for each in beginnings if text.endswith(each)), default=0)
