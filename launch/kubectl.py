"""Kubernetes' own command: a Job into the cluster, what it does there, and out of it."""

import json
import subprocess
from pathlib import Path
from typing import Any

from launch.submitted import State

ANSWER_SECONDS = 60.0


def replace(job: str, manifest: Path) -> None:
    """Give a Job to the cluster in place of one of the same name that has ended; ValueError if it is refused.

    `job` is NAMESPACE/NAME, or NAME in the namespace that kubectl is set to.
    """
    try:
        cancel(job)
        _run("apply", "--filename", str(manifest))
    except RuntimeError as fault:
        raise ValueError(str(fault)) from None


def state(job: str) -> State | None:
    """Return what a Job does; None once it has ended. RuntimeError where the cluster cannot be asked."""
    said = _run("get", "job", *_name(job), "--ignore-not-found", "--output=json")
    if not said.strip():
        return None
    found: dict[str, Any] = json.loads(said)
    status = found.get("status", {})
    ended = [one["type"] for one in status.get("conditions", ()) if one["status"] == "True"]
    if "Complete" in ended or "Failed" in ended:
        return None
    ready, wanted = status.get("ready", 0), found["spec"]["completions"]
    failed = f", {status['failed']} have failed so far" if status.get("failed") else ""
    return State(waits=not ready, words=f"{ready} of {wanted} pods at work{failed}")


def cancel(job: str) -> None:
    """Remove a Job, its pods and its Service; RuntimeError where the cluster does not."""
    _run("delete", "job,service", *_name(job), "--ignore-not-found", "--wait")


def _name(job: str) -> list[str]:
    namespace, _, name = job.rpartition("/")
    return [name, *([f"--namespace={namespace}"] if namespace else [])]


def _run(*words: str) -> str:
    """Return what kubectl says; RuntimeError if it fails."""
    try:
        done = subprocess.run(
            ["kubectl", *words], check=True, capture_output=True, text=True, timeout=ANSWER_SECONDS
        )
    except FileNotFoundError:
        raise RuntimeError("no kubectl here; install it, and give it the access to your cluster") from None
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"kubectl {words[0]}: no answer within {ANSWER_SECONDS:.0f} s") from None
    except subprocess.CalledProcessError as fault:
        raise RuntimeError(f"kubectl {' '.join(words)}: {fault.stderr.strip()}") from None
    return done.stdout
