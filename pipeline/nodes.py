"""`loglinear doctor --on LAUNCH.yaml`: the examination as a job on all nodes, and what they say together."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from launch.environment import node_name, rank
from launch.launcher import Job
from pipeline.doctor import MISSING, OK, OPTIONAL, Finding, examine
from pipeline.elsewhere import launcher_from, run_there
from pipeline.formats.publish import read_json, write_json

NAME = "doctor"
CALLED = "LOGLINEAR_ROLL_CALL"  # tells the processes of such a job that they are its
CLOCK_SECONDS = 2.0
SHARE = "put `out` and `data` on a POSIX file system that all nodes share"
ABOUT_ONE_NODE = ("memory", "disk", "torchrun", "deepspeed nodes", "wandb key", "Slurm", "CUDA", "network")


def examined(directory: Path, on: Path | None) -> list[Finding]:
    """Examine this machine, or every node of a launcher; `directory` is where data and runs would be written.

    As a process of such a job it writes down what all say, and returns nothing. Raises JobError where the
    processes do not come to meet, ConfigError where the launcher cannot start.
    """
    if on:
        return _on_all_nodes(directory, on)
    if CALLED in os.environ:
        _answer_call(directory)
        return []
    return examine(directory)


def _on_all_nodes(directory: Path, on: Path) -> list[Finding]:
    launcher = launcher_from(on)
    node = node_name() if launcher.on_each_node else ""
    job = Job(
        name=NAME, argv=(NAME, str(directory)), directory=directory, environment={CALLED: "1"}, node=node
    )
    answer = _answer(directory)
    answer.unlink(missing_ok=True)
    run_there(launcher, job)
    if not answer.is_file():
        return [Finding("shared directory", MISSING, f"what rank 0 wrote to {answer} is not here", SHARE)]
    return [Finding(**values) for values in read_json(answer)]


def _answer_call(directory: Path) -> None:
    """Examine this node as one process of the job; the first one writes down what all say."""
    local = [asdict(finding) for finding in examine(directory) if finding.status != OK]
    told = importlib.import_module("pipeline.trainer.rollcall").roll(directory, local)
    if rank() == 0:
        write_json(_answer(directory), [asdict(finding) for finding in together(told)])


def together(told: Sequence[dict[str, Any]]) -> list[Finding]:
    """Return what follows from the answers of all ranks."""
    return [_nodes(told), *_versions(told), _clock(told), _files(told), _reduced(told), *_own(told)]


def _nodes(told: Sequence[dict[str, Any]]) -> Finding:
    nodes = list(dict.fromkeys(each["node"] for each in told))
    return Finding("nodes", OK, f"{len(told)} processes on {len(nodes)}: {', '.join(nodes)}")


def _versions(told: Sequence[dict[str, Any]]) -> list[Finding]:
    """Return one finding for each thing that differs, or one for all."""
    found = []
    for name in told[0]["versions"]:
        ranks: dict[str, list[str]] = {}
        for each in told:
            ranks.setdefault(str(each["versions"][name]), []).append(f"{each['rank']} ({each['node']})")
        if len(ranks) > 1:
            where = "; ".join(f"{version} on rank {', '.join(who)}" for version, who in ranks.items())
            remedy = "install the same on every node, or share one environment and one checkout among them"
            found.append(Finding(f"same {name}", MISSING, where, remedy))
    same = ", ".join(f"{name} {version}" for name, version in told[0]["versions"].items() if version)
    return found or [Finding("same versions", OK, same)]


def _clock(told: Sequence[dict[str, Any]]) -> Finding:
    clocks = {each["node"]: each["clock"] for each in told}
    spread = max(clocks.values()) - min(clocks.values())
    found = f"within {spread:.2f} s of each other"
    if spread <= CLOCK_SECONDS:
        return Finding("clocks", OK, found)
    first, last = min(clocks, key=clocks.__getitem__), max(clocks, key=clocks.__getitem__)
    remedy = f"set them by NTP (chrony) on every node: {last} is ahead of {first}"
    return Finding("clocks", MISSING, f"{spread:.1f} s apart", remedy)


def _files(told: Sequence[dict[str, Any]]) -> Finding:
    blind = [each for each in told if each["unseen"]]
    if not blind:
        return Finding("shared directory", OK, "every process sees what the others publish")
    who = (
        f"rank {blind[0]['rank']} on {blind[0]['node']} does not see the file of rank {blind[0]['unseen'][0]}"
    )
    return Finding("shared directory", MISSING, who, SHARE)


def _reduced(told: Sequence[dict[str, Any]]) -> Finding:
    wrong = [each for each in told if each["reduced_seconds"] is None]
    if wrong:
        who = f"wrong on rank {wrong[0]['rank']} ({wrong[0]['node']})"
        return Finding("all-reduce", MISSING, who, "examine that node's memory and its network")
    slowest = max(each["reduced_seconds"] for each in told)
    return Finding("all-reduce", OK, f"4 MiB in {slowest:.3f} s")


def _own(told: Sequence[dict[str, Any]]) -> list[Finding]:
    """Return what nodes lack by themselves, each once; what is of no matter for a job there is left out."""
    found: dict[tuple[str, str], Finding] = {}
    for each in told:
        for values in each["local"]:
            if values["status"] == OPTIONAL and values["name"] in ABOUT_ONE_NODE:
                continue
            finding = Finding(**{**values, "name": f"{values['name']} on {each['node']}"})
            found.setdefault((each["node"], values["name"]), finding)
    return list(found.values())


def _answer(directory: Path) -> Path:
    return directory / "logs" / NAME / "findings.json"
