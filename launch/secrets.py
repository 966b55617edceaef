"""Keys and passwords: which of the environment's variables hold one, and text without them.

What a run writes down is read by others: its configuration, origin, logs, metrics and reports. A key belongs
into the environment or a file of its owner's (wandb login, hf auth login), and nowhere else.
"""

import os
import re
import sys
import traceback
from types import TracebackType

SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
SHORTEST = 8  # `false` and `1` are values of such variables too, and stand in many texts
_USERINFO = re.compile(r"(?<=://)[^\s/@:\"']*:[^\s/@\"']+(?=@)")
# What services hand out, known by how it begins.
_ISSUED = re.compile(
    r"\b(hf_[A-Za-z0-9]{20,}|(gh[opsu]|github_pat|glpat|xox[abp]|sk)[-_][A-Za-z0-9_-]{16,}|A[KS]IA[0-9A-Z]{16})\b"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_ASSIGNED = re.compile(r"\b(\w*(?:KEY|TOKEN|SECRET|PASSWORD)\w*)=(?!\$)\S{8,}")


def known() -> dict[str, str]:
    """Return the values of the environment's secrets and the name of each; the longest first."""
    found = {
        value: name
        for name, value in os.environ.items()
        if SECRET.search(name)
        and len(value) >= SHORTEST
        and not value.startswith(("/", "~"))  # names of files
    }
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


def redacted(text: str) -> str:
    """Return a text with the names of secrets in their place, and no password in an address."""
    for value, name in known().items():
        text = text.replace(value, f"[{name}]")
    return _USERINFO.sub("[password]", text)


def fault_in(text: str) -> str:
    """Return what secret a text that is to be written down has in it, in words without it; or nothing."""
    for value, name in known().items():
        if value in text:
            return f"the value of {name}"
    if _USERINFO.search(text):
        return "a password in an address"
    if _ISSUED.search(text):
        return "a key or token"
    assigned = _ASSIGNED.search(text)
    return f"a value of {assigned[1]}" if assigned else ""


def show_failure(kind: type[BaseException], failure: BaseException, trace: TracebackType | None) -> None:
    """Write an exception's traceback to stderr without secrets: `sys.excepthook`."""
    sys.stderr.write(redacted("".join(traceback.format_exception(kind, failure, trace))))
