"""Tasks of EleutherAI's lm-evaluation-harness (extra [lm-eval]), as tasks of ours.

The harness makes the prompts, filters the answers and counts the scores, by its own code; the model is asked
by our scorer, so that such a task is batched, shared among processes, recorded and gone on with after a kill
like any other. A group or a tag of the harness is one task: its figures stand beside those of its members.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import orjson

from pipeline.config import Schema, did_you_mean, identity
from pipeline.errors import ConfigError
from pipeline.evaluate.context import cut_metric
from pipeline.evaluate.harness_figures import figures
from pipeline.evaluate.instance import Asked, answer, asked_by
from pipeline.evaluate.task import Example, Metric, Reply, Request, Setting
from pipeline.formats.source import MissingSet

PREFIX = "harness/"
DRAWN_APART = 1_000_003  # seeds between two documents: more than anybody repeats a question
REMEDY = "python -m pip install 'loglinear[lm-eval]'"


@dataclass(frozen=True)
class Question:
    """A document of a member, with the instances that this makes of it."""

    task: Any
    document: Any
    instances: tuple[Any, ...]


class Config(Schema):
    """A task, group or tag of the harness, or the task of a file in its format."""

    task: str = identity(min_length=1, description="a name that lm-eval knows, or a file in its format")
    num_fewshot: int | None = identity(
        None, ge=0, description="solved examples before each question; null: as the task says"
    )

    @property
    def name(self) -> str:
        """What its results are called."""
        return f"{PREFIX}{Path(self.task).stem if self._is_file else self.task}"

    def build(self, setting: Setting) -> HarnessTask:
        """Return the task.

        Raises ConfigError for a name that the harness does not know and for a task that is not for a text
        model or not for solved examples, MissingSet where its data could not be had.
        """
        manager = _manager(with_all=not self._is_file)
        if not self._is_file and self.task not in manager.all_tasks:
            near = did_you_mean(self.task, manager.all_tasks)
            raise ConfigError(f"harness: {self.task}: no task of lm-eval {_version()}, and no file{near}")
        try:
            loaded = manager.load([self.task])
        except Exception as fault:  # whatever `datasets`, the network and a task's own code raise
            reason = f"{type(fault).__name__}: {fault}"
            raise MissingSet(
                f"lm-eval could not load it ({reason}); its own page tells of its data"
            ) from None
        members = list(loaded["tasks"].values())
        for member in members:
            _prepare(member, self.num_fewshot)
        return HarnessTask(self.name, members, list(loaded["groups"].values()), setting)

    @property
    def _is_file(self) -> bool:
        return Path(self.task).is_file()


class HarnessTask:
    """One example is one document of one member: a task of the harness, or those of a group or tag."""

    def __init__(self, name: str, members: Sequence[Any], groups: Sequence[Any], setting: Setting):
        self.name = name
        self._members = {member.task_name: member for member in members}
        self._groups, self._setting = groups, setting
        self.data_sha256 = _sum(members)
        self.protocol = (
            f"lm-eval {_version()}: {'; '.join(map(_described, members))}; context {setting.n_ctx}, one that "
            "does not fit loses its beginning; a reply takes half of the context at most; stderr of means "
            "from their spread, of others from resampling documents"
        )

    def examples(self) -> Sequence[Example]:
        """Return the documents of all members, up to the limit of each."""
        return [Example(number=number, content=each.document) for number, each in enumerate(self._questions)]

    def requests(self, example: Example) -> Sequence[Request]:
        """Return what the instances of a document come to, once for each repetition."""
        return [
            request
            for instance in self._questions[example.number].instances
            for repetition in range(instance.repeats or 1)
            for request in self._asked(example, instance, repetition).requests
        ]

    def score(self, example: Example, replies: Sequence[Reply]) -> dict[str, Any]:
        """Return prompts, answers and the scores that the harness gives, by its filters."""
        asked = self._questions[example.number]
        left, cut = iter(replies), False
        for instance in asked.instances:
            wanted = [self._asked(example, instance, n) for n in range(instance.repeats or 1)]
            instance.resps = [answer(instance, [next(left) for _ in each.requests]) for each in wanted]
            instance.filtered_resps = {}
            cut = cut or any(each.cut for each in wanted)
        return {
            "number": example.number,
            "member": asked.task.task_name,
            "asked": _plain([instance.args for instance in asked.instances]),
            "answers": _plain([instance.resps for instance in asked.instances]),
            "target": _plain(asked.task.doc_to_target(asked.document)),
            "scores": _plain(_scores(asked)),
            "cut": cut,
        }

    def metrics(self, records: Sequence[dict[str, Any]]) -> list[Metric]:
        """Return the figures of groups, of members, and the share of contexts that were cut."""
        return [*figures(self._members, self._groups, records), cut_metric(records)]

    @cached_property
    def _questions(self) -> list[Question]:
        """The documents of all members; a number of an example is a place in it."""
        return [question for member in self._members.values() for question in self._of(member)]

    def _of(self, member: Any) -> list[Question]:
        """Return a member's documents, with the solved examples that the harness draws for each."""
        from lm_eval.defaults import DEFAULT_OTHER_SEED

        member.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)
        member.build_all_requests(limit=self._setting.limit)
        by_document: dict[int, list[Any]] = {}
        for instance in member.instances:
            by_document.setdefault(instance.doc_id, []).append(instance)
        return [
            Question(member, instances[0].doc, tuple(sorted(instances, key=lambda each: each.idx)))
            for instances in by_document.values()
        ]

    def _asked(self, example: Example, instance: Any, repetition: int) -> Asked:
        # Repetitions and documents are drawn apart, the same at every call.
        seed = self._setting.seed + DRAWN_APART * example.number + repetition
        return asked_by(instance, self._setting, seed)


@cache
def _manager(with_all: bool) -> Any:
    """Return the harness's index of tasks: of all that it has, which takes a while to read, or of none."""
    try:
        from lm_eval.tasks import TaskManager
    except ImportError:
        raise ConfigError(f"harness: lm-eval is not installed; {REMEDY}") from None
    return TaskManager(include_defaults=with_all)


def _version() -> str:
    return importlib.metadata.version("lm_eval")


def _prepare(member: Any, num_fewshot: int | None) -> None:
    """Give a member its number of solved examples; ConfigError for one that cannot be put to a text model."""
    name, own = member.task_name, member.get_config("num_fewshot")
    if getattr(member, "UNSAFE_CODE", False):
        raise ConfigError(f"harness: {name} runs code that the model writes, and that is not done here")
    if getattr(member, "MULTIMODAL", False):
        raise ConfigError(f"harness: {name} shows pictures or sound, and these models read text")
    if num_fewshot and own == 0:
        raise ConfigError(
            f"harness: {name}: num_fewshot is {num_fewshot}, but the task itself says 0; remove it"
        )
    member.set_config(key="num_fewshot", value=(own or 0) if num_fewshot is None else num_fewshot)


def _described(member: Any) -> str:
    shots = member.get_config("num_fewshot") or 0
    data = "/".join(filter(None, (member.DATASET_PATH, member.DATASET_NAME)))
    return f"{member.task_name} version {member.VERSION} ({member.OUTPUT_TYPE}, {shots}-shot, data {data})"


def _sum(members: Sequence[Any]) -> str:
    """Return a hash of all documents."""
    found = hashlib.sha256()
    for member in members:
        for document in member.eval_docs:
            found.update(orjson.dumps(_plain(document), option=orjson.OPT_SORT_KEYS) + b"\n")
    return found.hexdigest()


def _scores(asked: Question) -> dict[str, Any]:
    """Return the scores of a document's answers by the name of each filter that they go through."""
    asked.task._instances = list(asked.instances)
    asked.task.apply_filters()
    return {
        name: asked.task.process_results(
            asked.document, [instance.filtered_resps[name] for instance in asked.instances]
        )
        for name in asked.instances[0].filtered_resps
    }


def _plain(value: Any) -> Any:
    """Return a value as plain JSON; what has no form in it, as text, and a number that is none as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # of numpy
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)
