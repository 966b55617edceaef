"""The code of a job: our packages as they are when it is submitted, in a zip of the directory it works on.

DIRECTORY/code/HASH.zip goes first on the path of the job's processes. A job that waits in a queue, is queued
again, or starts on its last node an hour after the first, runs what was submitted, whatever is edited
meanwhile. Nodes that are started by hand compute the same hash and take the same file. The zips stay: with
the hash in each attempt's record they tell what ran.
"""

import hashlib
import io
import os
import socket
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

PACKAGES = ("launch", "model", "pipeline")
FOLDER = "code"
_FIRST_TIME = (1980, 1, 1, 0, 0, 0)  # that a zip can tell; the same for all, or no two zips would be equal


@dataclass(frozen=True)
class Code:
    """The files of our packages by their names in the zip, in order."""

    files: Mapping[str, bytes]

    @classmethod
    def here(cls) -> "Code":
        """Read the packages from where this process has them, be it a folder or a zip."""
        found = dict(item for name in PACKAGES for item in _walk(resources.files(name), name))
        return cls(dict(sorted(found.items())))

    @property
    def hash(self) -> str:
        """The hash of all names and contents, 16 hexadecimal digits."""
        digest = hashlib.blake2b(digest_size=8)
        for name, data in self.files.items():
            digest.update(f"{name}\n{len(data)}\n".encode() + data)
        return digest.hexdigest()

    def path(self, directory: Path) -> Path:
        """Return where the zip of a directory's jobs lies, as an absolute path."""
        return Path(os.path.abspath(directory)) / FOLDER / f"{self.hash}.zip"  # noqa: PTH100 - reads no disk

    def variables(self, directory: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Return what puts the zip first on the path of a job's processes, before what is on it already.

        Python would put the working directory before it, and that may be the one where the code is edited.
        """
        first = str(self.path(directory))
        rest = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
        path = [first, *(entry for entry in rest if entry != first)]
        return {"PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1"}

    def pack(self, directory: Path) -> Path:
        """Write the zip, whole or not at all, unless it is there already; return its path."""
        path = self.path(directory)
        if path.exists():
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{socket.gethostname()}-{os.getpid()}")
        try:
            with draft.open("wb") as file:
                file.write(self._zipped())
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        return path

    def _zipped(self) -> bytes:
        """Return the zip, byte for byte the same for the same files; stored, which is imported fastest."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for name, data in self.files.items():
                archive.writestr(zipfile.ZipInfo(name, _FIRST_TIME), data)
        return buffer.getvalue()


def _walk(folder: Traversable, name: str) -> Iterator[tuple[str, bytes]]:
    """Yield all files of a package but what Python has compiled, and hidden ones, which editors leave."""
    for entry in folder.iterdir():
        if entry.name.startswith((".", "__pycache__")):
            continue
        inside = f"{name}/{entry.name}"
        if entry.is_dir():
            yield from _walk(entry, inside)
        else:
            yield inside, entry.read_bytes()
