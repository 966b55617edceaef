"""Every kind of task keeps the contract: chance for a model that knows nothing, all for one that knows."""

import math
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from model import tokenizer as tokenizers
from pipeline.config import Kind, validate
from pipeline.errors import ConfigError, FormatError
from pipeline.evaluate.task import Generation, LogLikelihood, Reply, Setting
from pipeline.formats.source import MissingSet

from .invented import INVENTED, VOCABULARY, WORD

FOLDER = Kind("pipeline.evaluate.tasks")
OWN_TEXT = ("held_out", "last_word", "overlap", "samples", "webtext")
"""Kinds that read a dataset of ours instead of a published set."""
SETS = [kind for kind in INVENTED if kind not in OWN_TEXT]
ROOMY, SHORT = 4096, 48

every_kind = pytest.mark.parametrize("kind", FOLDER.names())
every_set = pytest.mark.parametrize("kind", SETS)


class Uniform:
    """Takes every id for equally likely, and writes nothing."""

    def answer(self, requests: Sequence) -> list[Reply]:
        return [self._reply(request) for request in requests]

    def _reply(self, request) -> Reply:
        if isinstance(request, Generation):
            return Reply()
        count = len(request.target)
        nats = (math.log(VOCABULARY),) * count
        return (
            Reply(nats=nats, greedy=False, likeliest=(0,) * count, instead=0)
            if request.greedy
            else Reply(nats=nats)
        )


class Knowing:
    """Has read some texts: what goes on as they do costs nothing, and so it writes; all else costs much."""

    def __init__(self, tokenizer, texts: Sequence[str]):
        self._tokenizer, self._texts = tokenizer, [text.encode() for text in texts]

    def answer(self, requests: Sequence) -> list[Reply]:
        return [
            self._goes_on(request) if isinstance(request, Generation) else self._likelihood(request)
            for request in requests
        ]

    def _bytes(self, ids) -> bytes:
        return self._tokenizer.decode_bytes([id for id in ids if id != self._tokenizer.eot_id])

    def _likelihood(self, request: LogLikelihood) -> Reply:
        read = self._bytes(request.context)[-12:] + self._bytes(request.target)
        known = any(read in text for text in self._texts)
        nats = (0.0 if known else 30.0,) * len(request.target)
        if not request.greedy:
            return Reply(nats=nats)
        likeliest = request.target if known else (0,) * len(request.target)
        instead = next((id for id in likeliest[:1] if id not in request.without), None)
        return Reply(nats=nats, greedy=known, likeliest=likeliest, instead=instead)

    def _goes_on(self, request: Generation) -> Reply:
        before = self._bytes(request.prompt)[-12:]
        rest = next((text[text.find(before) + len(before) :] for text in self._texts if before in text), b"")
        ids = self._tokenizer.encode(rest.decode())[: request.max_new_tokens]
        text = self._tokenizer.decode(ids)
        for stop in request.stop:
            text = text.partition(stop)[0]
        ids = self._tokenizer.encode(text)
        return Reply(ids=tuple(ids), text=text, nats=(0.0,) * len(ids) if request.nats else ())


@pytest.fixture(scope="session")
def spelling():
    """A tokenizer of bytes and one word."""
    found = tokenizers.train([f"{f' {WORD}' * 50}"], VOCABULARY)
    assert len(found.encode(f" {WORD}")) == 1 and found.vocab_size == VOCABULARY
    return found


@pytest.fixture(scope="session")
def sets(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    for invented in INVENTED.values():
        write(folder, invented.files)
    return folder


def write(folder: Path, files) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode())


@pytest.fixture
def build(spelling, sets, dataset):
    def built(kind, *, data=sets, n_ctx=ROOMY, limit=None, check_sums=False, options=None):
        setting = Setting(
            data=data, corpus=dataset, check_sums=check_sums, tokenizer=spelling, n_ctx=n_ctx, limit=limit
        )
        return validate(FOLDER.config(kind), options or {}, kind).build(setting)

    return built


@pytest.fixture
def knowing(spelling, dataset):
    def reads(kind) -> Knowing:
        setting = Setting(corpus=dataset, tokenizer=spelling, n_ctx=ROOMY)
        own = [text for split in setting.manifest.splits for text in setting.documents(split)]
        return Knowing(spelling, INVENTED[kind].known or own)

    return reads


def records(task, model) -> list[dict]:
    found = []
    for example in task.examples():
        requests = task.requests(example)
        found.append(task.score(example, model.answer(requests)))
    return found


def figures(task, model) -> dict[str, float]:
    return {metric.name: metric.estimate.value for metric in task.metrics(records(task, model))}


def test_every_kind_has_rows_invented_for_it():
    assert sorted(INVENTED) == FOLDER.names()


@every_kind
def test_a_task_is_the_same_at_every_call_and_says_what_it_is(kind, build):
    task, again = build(kind), build(kind)

    assert task.name == kind and len(task.data_sha256) == 64
    assert task.protocol and (again.protocol, again.data_sha256) == (task.protocol, task.data_sha256)
    examples = task.examples()
    assert [example.number for example in examples] == list(range(len(examples))) and len(examples) > 1
    assert task.examples() == again.examples() == examples
    for example in examples:
        assert task.requests(example) == again.requests(example)


@every_kind
@pytest.mark.parametrize("model", ["uniform", "knowing"])
def test_records_are_plain_and_figures_have_errors(kind, model, build, knowing):
    task = build(kind)
    found = records(task, Uniform() if model == "uniform" else knowing(kind))

    # What is read back after a kill is what was written, and gives the same figures.
    assert orjson.loads(orjson.dumps(found)) == found
    assert [record["number"] for record in found] == [example.number for example in task.examples()]
    for metric in task.metrics(found):
        assert metric.name.islower() and metric.name.isidentifier()
        assert math.isfinite(metric.estimate.value)
        assert metric.estimate.num_examples <= len(found)
        assert metric.estimate.num_examples == 1 or metric.estimate.stderr is not None


@every_kind
def test_a_uniform_model_has_exactly_chance_and_the_logarithm_of_the_vocabulary(kind, build):
    found = figures(build(kind), Uniform())

    for name, value in INVENTED[kind].chance.items():
        assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


@every_kind
def test_a_model_that_knows_the_answers_is_right_in_all(kind, build, knowing):
    found = figures(build(kind), knowing(kind))

    for name, value in INVENTED[kind].right.items():
        assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


def size(request) -> int:
    """Return the ids that the model reads for a request at most."""
    if isinstance(request, Generation):
        return len(request.prompt) + request.max_new_tokens
    return len(request.context) + len(request.target) - 1


@every_kind
def test_what_does_not_fit_is_cut_by_rule_and_marked_and_never_skipped(kind, build):
    roomy, short = build(kind), build(kind, n_ctx=SHORT, options=INVENTED[kind].short)
    asked, pressed = (
        [request for example in task.examples() for request in task.requests(example)]
        for task in (roomy, short)
    )

    assert all(size(request) <= SHORT for request in pressed)
    assert all(
        each.prompt if isinstance(each, Generation) else each.context and each.target for each in pressed
    )
    if not INVENTED[kind].short and kind != "winograd":  # whose sentences are context, too, up to the pronoun
        # A target is read in parts where it must be, but all of it is read.
        scored, expected = (
            sum(len(each.target) for each in requests if isinstance(each, LogLikelihood))
            for requests in (pressed, asked)
        )
        assert scored == expected > 0
    for task, cut in ((roomy, 0), (short, 1)):
        found = records(task, Uniform())
        if "cut" in found[0]:
            assert {record["cut"] for record in found} == {bool(cut)}
            assert figures(task, Uniform())["context_cut"] == cut


@every_kind
def test_the_limit_takes_the_first_examples(kind, build):
    few, whole = build(kind, limit=1).examples(), build(kind).examples()

    if kind in ("overlap", "webtext"):  # one each of what they compare
        assert len(few) == 2
    else:
        assert list(few) == list(whole)[:1]


@pytest.mark.parametrize(
    ("kind", "files", "message"),
    [(kind, *damage) for kind in INVENTED for damage in INVENTED[kind].damaged],
)
def test_a_malformed_row_is_named_by_file_and_line(kind, files, message, build, tmp_path):
    write(tmp_path, files)

    with pytest.raises(FormatError, match=message):
        build(kind, data=tmp_path)


@every_set
def test_bytes_that_are_no_text_are_named(kind, build, tmp_path):
    for name, content in INVENTED[kind].files.items():
        write(tmp_path, {name: content})
        (tmp_path / name).write_bytes(content.encode()[:-2] + b"\xff\xfe\n")

    with pytest.raises(FormatError, match=r"(:\d+|: byte \d+): "):
        build(kind, data=tmp_path)


@pytest.mark.parametrize("kind", ["enwik8", "lambada", "natural_questions", "wikitext2"])
def test_rows_that_are_not_what_was_published_are_refused_by_their_sum(kind, build):
    with pytest.raises(FormatError, match=r"SHA-256 \w+, but .* was published with \w+; get it anew \(http"):
        build(kind, check_sums=True)


@every_set
def test_an_empty_set_is_refused(kind, build, tmp_path):
    write(tmp_path, dict.fromkeys(INVENTED[kind].files, ""))

    with pytest.raises(FormatError):
        build(kind, data=tmp_path)


@every_set
def test_a_missing_set_is_named_with_where_to_get_it(kind, build, tmp_path):
    with pytest.raises(MissingSet, match=r": not below .* \(looked for .*\); get it from http"):
        build(kind, data=tmp_path)


@every_kind
def test_an_option_that_it_does_not_have_is_refused(kind):
    with pytest.raises(ConfigError, match="no_such_option"):
        validate(FOLDER.config(kind), {"no_such_option": 1}, kind)
