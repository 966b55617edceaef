"""Serves a finished site on loopback from a process of its own, which ends with the one that started it.

The child runs ``python -m pipeline.quickstart.server DIRECTORY PARENT`` and says its port on the first line.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import StageError
from pipeline.quickstart.children import end_with

LOOPBACK = "127.0.0.1"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".json": "application/json",
}


@dataclass(frozen=True)
class Server:
    """A running server."""

    address: str  # 127.0.0.1:PORT
    pid: int


@contextmanager
def start(site: Path) -> Iterator[Server]:
    """Serve `site` on a free port until the context is left or this process dies, however it dies."""
    child = subprocess.Popen(
        [sys.executable, "-m", "pipeline.quickstart.server", str(site.absolute()), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout
        port = child.stdout.readline().strip()
        if not port:
            raise StageError(f"the server of {site} ended at once with exit code {child.wait()}")
        yield Server(address=f"{LOOPBACK}:{port}", pid=child.pid)
    finally:
        child.kill()
        child.wait()
        if child.stdout:
            child.stdout.close()


def main() -> None:
    """Serve the directory named on the command line."""
    end_with(int(sys.argv[2]))
    asyncio.run(_serve(Path(sys.argv[1])))


async def _serve(site: Path) -> None:
    from aiohttp import web  # loaded by the child only

    root = site.resolve()

    async def answer(request: web.Request) -> web.StreamResponse:
        path = _file(root, request.path)
        if path is None:
            raise web.HTTPNotFound
        return web.Response(body=path.read_bytes(), headers={"Content-Type": _TYPES[path.suffix]})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)  # HEAD comes with it
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listener = web.TCPSite(runner, LOOPBACK, 0)
    await listener.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def _file(root: Path, url_path: str) -> Path | None:
    """Return the page a URL means; None for whatever is not a page of the site."""
    parts = [part for part in url_path.split("/") if part] or ["index.html"]
    if any(part.startswith(".") or "\\" in part or "\0" in part for part in parts):
        return None
    path = root.joinpath(*parts).resolve()
    known = path.suffix in _TYPES and path.is_relative_to(root) and path.is_file()
    return path if known else None


if __name__ == "__main__":
    main()
