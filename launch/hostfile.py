"""DeepSpeed's hostfile: a line `HOST slots=N` for each node; and the choice among its slots."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

# A host is a name or an address, and nothing that ssh or a shell could take for something else.
_LINE = re.compile(r"^(?P<host>[\w\[][\w.:%\[\]-]*)\s+slots=(?P<slots>\d+)\s*(#.*)?$", re.ASCII)
_CHOICE = re.compile(r"^(?P<host>[^\s:,@]+)(:(?P<slots>\d+(,\d+)*))?$")


def read(path: Path) -> dict[str, int]:
    """Return the slots of each host, in the file's order; ValueError tells every fault with its line."""
    try:
        text = path.read_text()
    except OSError as fault:
        raise ValueError(
            f"{path}: {fault.strerror}; a hostfile has a line HOST slots=N for each node"
        ) from None
    return parse(text, str(path))


def parse(text: str, where: str) -> dict[str, int]:
    """Return the slots of each host; ValueError tells every fault, a line each, with its place `where`:N."""
    hosts: dict[str, int] = {}
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line.strip())
        if match is None:
            problems.append(f"{where}:{number}: {line.strip()!r} is not HOST slots=N (node-0 slots=8)")
        elif int(match["slots"]) == 0:
            problems.append(
                f"{where}:{number}: {match['host']} has no slots; give it some or remove the line"
            )
        elif match["host"] in hosts:
            problems.append(
                f"{where}:{number}: {match['host']} stands here twice; give it one line with all slots"
            )
        else:
            hosts[match["host"]] = int(match["slots"])
    if not hosts and not problems:
        problems.append(f"{where}: no host; write a line HOST slots=N for each node")
    if problems:
        raise ValueError("\n".join(problems))
    return hosts


def selected(
    hosts: Mapping[str, int], include: Iterable[str], exclude: Iterable[str]
) -> dict[str, list[int]]:
    """Return the slots that are used of each host, in the hosts' order.

    A choice is HOST for all its slots, or HOST:0,2. With `include` only what it names is used, with `exclude`
    all but what it names; ValueError where both are given, or one names what is not there.
    """
    included, excluded = list(include), list(exclude)
    if included and excluded:
        raise ValueError("include and exclude cannot both be given; one of them says it all")
    if not included:
        taken = _slots(excluded, hosts, "exclude")
        left = {
            host: [s for s in range(count) if s not in taken.get(host, ())] for host, count in hosts.items()
        }
    else:
        taken = _slots(included, hosts, "include")
        left = {host: sorted(taken.get(host, ())) for host in hosts}
    left = {host: slots for host, slots in left.items() if slots}
    if not left:
        raise ValueError(f"exclude: {', '.join(excluded)} leaves no slot")
    return left


def _slots(choices: Iterable[str], hosts: Mapping[str, int], key: str) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for choice in choices:
        match = _CHOICE.match(choice)
        if match is None:
            raise ValueError(f"{key}: {choice!r} is not HOST or HOST:0,2")
        if match["host"] not in hosts:
            raise ValueError(f"{key}: {match['host']} is not in the hostfile; it has {', '.join(hosts)}")
        count = hosts[match["host"]]
        slots = {int(slot) for slot in match["slots"].split(",")} if match["slots"] else set(range(count))
        if max(slots) >= count:
            raise ValueError(f"{key}: {choice}: {match['host']} has slots 0 to {count - 1}")
        found.setdefault(match["host"], set()).update(slots)
    return found
