"""Faults planted in one rank of a job from outside: `sitecustomize` of a folder that is put on PYTHONPATH."""

from __future__ import annotations

from pathlib import Path

# A thread waits for the function to be there and lets the fault happen in it, before it does its work.
PLANT = """
import ctypes, os, signal, sys, threading, time

def plant():
    module, _, path = {target!r}.partition(":")
    *owners, name = path.split(".")
    owner = None
    while not hasattr(owner, name):
        time.sleep(0.005)
        owner = sys.modules.get(module)
        for each in owners:
            owner = getattr(owner, each, None)
    original, calls = getattr(owner, name), []

    def faulty(*arguments, **options):
        calls.append(1)
        if len(calls) == {call!r} or {always!r} and len(calls) > {call!r}:
            {fault}
        return original(*arguments, **options)

    setattr(owner, name, faulty)

starts_others = any(word in ("--on", "torch.distributed.run") for word in sys.orig_argv)
if os.environ.get("RANK", "0") == "{rank}" and not starts_others:
    threading.Thread(target=plant, daemon=True).start()
"""
SLEEPS = "time.sleep(3600)"
HOLDS_THE_INTERPRETER = "ctypes.PyDLL(None).sleep(3600)"
IS_SLOW = "time.sleep(0.2)"


def plant(folder: Path, target: str, fault: str, rank: int = 0, call: int = 1, always: bool = False) -> str:
    """Write a rank's fault: Python that runs at a call of MODULE:FUNCTION, counted from 1, or ever after.

    Returns what goes on PYTHONPATH.
    """
    folder.mkdir(parents=True, exist_ok=True)
    code = PLANT.format(target=target, fault=fault, rank=rank, call=call, always=always)
    (folder / "sitecustomize.py").write_text(code)
    return str(folder)
