"""Takes out of docstrings and signatures what belongs to one machine or one run: addresses and paths."""

import re
import site
import sys
import sysconfig
from functools import cache
from pathlib import Path

_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
_FILE_LINK = re.compile(r"\bfile:/[^\s'\"<>)]*")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_QUOTED_PATH = re.compile(r"(['\"])/[^'\"\s]{2,}\1")


def cleaned(text: str) -> str:
    """Return the text without memory addresses and `file:` links, paths of this machine's as "..."."""
    text = _CONTROL.sub("", _ADDRESS.sub("", text.replace("\xa0", " ")))
    return _local_paths().sub("...", _FILE_LINK.sub("", text)) if "/" in text else text


def cleaned_signature(text: str) -> str:
    """Return the signature on one line, absolute paths among its default values replaced by '...'."""
    return _QUOTED_PATH.sub("'...'", cleaned(" ".join(text.split())))


@cache
def _local_paths() -> re.Pattern[str]:
    folders = {sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values()}
    folders |= {*site.getsitepackages(), *sys.path, str(Path.cwd()), str(Path.home())}
    local = sorted(filter(_is_local, folders), key=len, reverse=True)
    return re.compile("(?:" + "|".join(map(re.escape, local)) + r")(?:/[\w.+\-/]*)?")


def _is_local(folder: str) -> bool:
    """Tell whether a folder names this machine: "/", "/opt" and "/usr/local" are everybody's."""
    return folder.count("/") >= 2 and ("python" in folder or not folder.startswith("/usr/"))
