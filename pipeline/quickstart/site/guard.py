"""Imports a module on trial: whatever prints, writes, starts or connects something is turned away.

For a child process that lives for one unit of modules, never for the quickstart's own process: an audit
hook cannot be taken off again.
"""

import importlib
import os
import random
import sys
import tempfile
import threading
from types import ModuleType
from typing import Any

_FORBIDDEN = {
    "os.system": "starts a process",
    "os.exec": "starts a process",
    "os.fork": "starts a process",
    "os.forkpty": "starts a process",
    "os.posix_spawn": "starts a process",
    "os.spawn": "starts a process",
    "subprocess.Popen": "starts a process",
    "webbrowser.open": "opens a window",
    "_tkinter.create": "opens a window",
    "socket.connect": "uses the network",
    "socket.bind": "uses the network",
    "socket.getaddrinfo": "uses the network",
    "os.kill": "signals a process",
    "os.mkdir": "writes files",
    "os.remove": "writes files",
    "os.rename": "writes files",
    "os.rmdir": "writes files",
    "os.chmod": "writes files",
    "os.truncate": "writes files",
    "shutil.rmtree": "writes files",
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def _same_bytes(count: int, /) -> bytes:
    return b"\x2a" * count


class Misbehaved(BaseException):
    """A module did what documentation must not do; not an Exception, so that modules do not catch it."""


class Guard:
    """Standard output and error in a temporary file, and an eye on what imports do."""

    def __init__(self) -> None:
        self._watching = False
        self._offence = ""
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this process
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor in (1, 2):
            os.dup2(self._printed.fileno(), descriptor)
        sys.addaudithook(self._audit)
        # Docstrings with drawn examples exist; chance from the system would make them other each time.
        os.urandom = random._urandom = _same_bytes  # type: ignore[attr-defined]
        random.seed(0)

    def load(self, name: str) -> ModuleType:
        """Return the imported module; Misbehaved carries the reason in a few words."""
        self._offence = ""
        threads = threading.active_count()
        self._watching = True
        try:
            module = importlib.import_module(name)
        except BaseException as fault:  # SystemExit too: importing must not be able to end this process
            raise Misbehaved(self._offence or f"import fails: {type(fault).__name__}") from None
        finally:
            self._watching = False
        if offence := self._offence or self._leftover(threads):
            raise Misbehaved(offence)
        return module

    def _leftover(self, threads: int) -> str:
        sys.stdout.flush()
        sys.stderr.flush()
        if self._printed.seek(0, os.SEEK_END):
            self._printed.truncate(0)
            return "prints"
        return "starts a thread" if threading.active_count() > threads else ""

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        offence = _FORBIDDEN.get(event, "")
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING:
            offence = "" if arguments[0] == os.devnull else "writes files"
        if offence:
            self._offence = offence
            raise Misbehaved(offence)
