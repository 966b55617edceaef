"""On a Kubernetes cluster, as an indexed Job with a headless Service; no operator is needed.

`out` and `data` lie on volumes that are mounted here and in the pods under the same paths. The job outlives
the command that submits it: `loglinear status` tells what it does, `loglinear stop` asks it to save its work
and end. Wants Kubernetes 1.29 or newer.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch import kubectl
from launch.kubectl import cancel, state
from launch.launcher import Job
from launch.pod import BAD_INPUT
from launch.rank import STOPPED, clear
from launch.secrets import SECRET
from launch.submitted import ENDED, HALT, Submitted, record
from launch.yaml_text import documents

__all__ = ["Config", "Kubernetes", "cancel", "state"]

KIND = "kubernetes"
MANIFEST = "job.yaml"
CONTAINER = "loglinear"
PORT = 29400
MARGIN_SECONDS = 60  # for a pod to tell how its processes have ended
KEPT_SECONDS = 7 * 24 * 3600  # how long the cluster remembers a job that has ended
INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
_MEMORY = re.compile(r"^(?P<amount>\d+)(?P<unit>Mi|Gi)$")
_SECRET = re.compile(r"^[a-z0-9][a-z0-9.-]*/[\w.-]+$")


@dataclass(frozen=True, kw_only=True)
class Config:
    """`nodes` pods with so many `processes` each, a process with so many `gpus`, `cpus` and so much `memory`.

    A stage of one process asks for one pod with one process's share of them. `volumes`: which claim is
    mounted at which path. `secrets`: variables from the cluster's secrets, VARIABLE: SECRET/KEY. `user`: the
    number of the user that the processes are, who must be able to write to the volumes. `node_selector`:
    labels of the nodes that will do; `tolerations`: taints of theirs that do not matter. `retries`: how often
    a pod may fail. `grace_seconds`: from a pod's notice to its end; a checkpoint must fit in it.
    `meet_seconds`: how long pods wait for each other.
    """

    image: str
    volumes: Mapping[str, str]
    nodes: int = 1
    processes: int = 1
    gpus: int = 0
    cpus: int = 1
    memory: str = "4Gi"
    threads: int | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    namespace: str | None = None
    user: int = 1000
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[str, ...] = ()
    retries: int = 3
    grace_seconds: int = 300
    meet_seconds: int = 900

    def __post_init__(self) -> None:
        least = {"nodes": 1, "processes": 1, "gpus": 0, "cpus": 1, "user": 1, "retries": 0}
        for name, value in {**least, "grace_seconds": 1, "meet_seconds": 1}.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least {value}")
        if not _MEMORY.match(self.memory):
            raise ValueError(f"memory ({self.memory}) must be a number of Mi or Gi, for example 32Gi")
        _check_volumes(self.volumes)
        _check_secrets(self.secrets, self.environment)

    def build(self) -> "Kubernetes":
        """Return the launcher."""
        return Kubernetes(self)


class Kubernetes:
    """Give jobs to the cluster that kubectl is set to."""

    on_each_node = False
    is_detached = True

    def __init__(self, config: Config):
        self._config = config
        self.processes = config.nodes * config.processes

    def script(self, job: Job) -> str:
        """Return what `kubectl apply` is given: the Job, and before it the Service by which its pods meet."""
        labels = {"app.kubernetes.io/name": "loglinear"}
        metadata: dict[str, Any] = {"name": job_name(job), "labels": labels}
        if self._config.namespace:
            metadata["namespace"] = self._config.namespace
        service: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {
                "clusterIP": "None",  # headless: it only gives each pod a name
                "publishNotReadyAddresses": True,
                "selector": {"batch.kubernetes.io/job-name": job_name(job)},
            },
        }
        work: dict[str, Any] = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata,
            "spec": self._spec(job),
        }
        return documents([service, work])

    def submit(self, job: Job) -> Submitted:
        """Give the job to the cluster; ValueError where it is refused, or pods could not reach its files."""
        if not any(Path(_absolute(job.directory)).is_relative_to(path) for path in self._config.volumes):
            raise ValueError(
                f"{_absolute(job.directory)}: is on none of the volumes ({', '.join(self._config.volumes)});"
                " put `out` on one that is mounted here and in the pods under the same path"
            )
        clear(job.folder)
        for left in (HALT, ENDED):
            (job.folder / left).unlink(missing_ok=True)
        manifest = job.folder / MANIFEST
        manifest.write_text(self.script(job))
        kubectl.replace(self._id(job), manifest)
        return record(job, KIND, self._id(job))

    def _id(self, job: Job) -> str:
        return f"{self._config.namespace}/{job_name(job)}" if self._config.namespace else job_name(job)

    def _spec(self, job: Job) -> dict[str, Any]:
        nodes = 1 if job.alone else self._config.nodes
        return {
            "completionMode": "Indexed",
            "completions": nodes,
            "parallelism": nodes,
            "backoffLimitPerIndex": self._config.retries,
            "maxFailedIndexes": 0,
            "podReplacementPolicy": "Failed",  # not before the last one has saved its work
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onExitCodes": _exit_code(STOPPED)},
                    {"action": "FailJob", "onExitCodes": _exit_code(BAD_INPUT)},
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                ]
            },
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {"spec": self._pod(job)},
        }

    def _pod(self, job: Job) -> dict[str, Any]:
        config = self._config
        claims = list(dict.fromkeys(config.volumes.values()))
        volumes: list[dict[str, Any]] = [
            {"name": f"volume-{number}", "persistentVolumeClaim": {"claimName": claim}}
            for number, claim in enumerate(claims)
        ]
        # Processes of a pod exchange data in shared memory, of which a container has 64 MB.
        volumes.append({"name": "shared-memory", "emptyDir": {"medium": "Memory"}})
        return {
            "subdomain": job_name(job),
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": config.grace_seconds + MARGIN_SECONDS,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": config.user,
                "runAsGroup": config.user,
                "fsGroup": config.user,
                "fsGroupChangePolicy": "OnRootMismatch",  # looks at one folder, not at terabytes
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **({"nodeSelector": dict(config.node_selector)} if config.node_selector else {}),
            **(
                {"tolerations": [_tolerated(key) for key in config.tolerations]} if config.tolerations else {}
            ),
            "containers": [self._container(job, claims)],
            "volumes": volumes,
        }

    def _container(self, job: Job, claims: list[str]) -> dict[str, Any]:
        config = self._config
        processes = 1 if job.alone else config.processes
        amount = _MEMORY.match(config.memory)
        assert amount, "checked at the start"
        memory = f"{int(amount['amount']) * processes}{amount['unit']}"
        gpus = {"nvidia.com/gpu": config.gpus * processes} if config.gpus else {}
        mounts = [
            {"name": f"volume-{claims.index(claim)}", "mountPath": path}
            for path, claim in config.volumes.items()
        ]
        return {
            "name": CONTAINER,
            "image": config.image,
            "workingDir": _absolute(Path()),  # relative paths lead where they lead here
            "command": ["python", "-m", "launch.pod"],
            "args": self._arguments(job),
            "env": self._environment(job),
            "resources": {
                "requests": {"cpu": config.cpus * processes, "memory": memory},
                "limits": {"memory": memory, **gpus},  # none of CPUs: it would only slow them down
            },
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [*mounts, {"name": "shared-memory", "mountPath": "/dev/shm"}],
        }

    def _arguments(self, job: Job) -> list[str]:
        config = self._config
        nodes, processes = (1, 1) if job.alone else (config.nodes, config.processes)
        several = nodes * processes > 1
        options = {
            "id": self._id(job),
            "nodes": nodes,
            "processes": processes,
            "endpoint": f"{job_name(job)}-0.{job_name(job)}:{PORT}",
            "threads": config.threads or (1 if several else config.cpus),
            "grace-seconds": config.grace_seconds,
            "meet-seconds": config.meet_seconds,
        }
        return [*(f"--{key}={value}" for key, value in options.items()), "--", *job.argv]

    def _environment(self, job: Job) -> list[dict[str, Any]]:
        values = {**self._config.environment, **job.variables}
        plain: list[dict[str, Any]] = [{"name": key, "value": value} for key, value in values.items()]
        for key, place in self._config.secrets.items():
            secret, _, item = place.partition("/")
            plain.append({"name": key, "valueFrom": {"secretKeyRef": {"name": secret, "key": item}}})
        index = {"name": "NODE_RANK", "valueFrom": {"fieldRef": {"fieldPath": INDEX}}}
        return [index, *plain]


def job_name(job: Job) -> str:
    """Return what a job is called in the cluster: the same for the same directory, and for no other.

    A pod's host name has the pod's number after it, and at most 63 letters.
    """
    words = re.sub(r"[^a-z0-9]+", "-", f"{job.directory.name}-{job.name}".lower()).strip("-")[:40].strip("-")
    digest = hashlib.blake2b(f"{_absolute(job.directory)}\n{job.name}".encode(), digest_size=4).hexdigest()
    return f"loglinear-{words}-{digest}"


def _check_volumes(volumes: Mapping[str, str]) -> None:
    if not volumes:
        raise ValueError("volumes: name a claim for the path that `out` and `data` are under")
    for path in volumes:
        if not path.startswith("/"):
            raise ValueError(f"volumes: {path} must be an absolute path")


def _check_secrets(secrets: Mapping[str, str], environment: Mapping[str, str]) -> None:
    for name, place in secrets.items():
        if not _SECRET.match(place):
            raise ValueError(f"secrets: {name} must be SECRET/KEY, for example wandb/api-key")
    for name in environment:
        if SECRET.search(name):
            raise ValueError(
                f"environment: {name} would stand in the cluster's records for others to read; put it into a"
                " secret (kubectl create secret generic) and name that under `secrets`"
            )


def _exit_code(code: int) -> dict[str, Any]:
    return {"containerName": CONTAINER, "operator": "In", "values": [code]}


def _tolerated(key: str) -> dict[str, str]:
    return {"key": key, "operator": "Exists"}


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - `resolve` would read the disk
