"""R24: whatever bytes a file holds, its reader answers with what it is for or with its own error, soon.

Not only noise, which every reader refuses at its first byte: also whole files with some bytes changed, cut or
put in, and JSON and YAML that is well-formed and says odd things.
"""

from __future__ import annotations

import json
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from launch import hostfile
from model import tokenizer
from model.weights import load_model
from pipeline.composition import compose
from pipeline.config import load
from pipeline.data.crawl import robots
from pipeline.data.crawl.bodies import Body, BodyRefusedError
from pipeline.data.documents import read_documents
from pipeline.data.stored.pages import read_pages
from pipeline.data.url import UrlError, canonical, surt, target
from pipeline.errors import LoglinearError
from pipeline.formats.checkpoint import Meta, verify
from pipeline.formats.manifest import Manifest
from pipeline.formats.results import Results, read_records
from pipeline.formats.run import Run
from pipeline.formats.shards import TokenShard
from pipeline.report.studied import points_of
from pipeline.study.table import Columns, Table
from pipeline.train import stage
from pipeline.trainer.state import State
from tests.drills.commands import make_dataset, make_run
from tests.pipeline.data.conftest import document, write_files, write_warc

RELEASE = Path(__file__).parents[1] / "model" / "gpt2_release"
WORDS = "fuzzed readers"
STATE = "state/tensors-00000-of-00001.safetensors"
SLOWEST_SECONDS = 2.0
MOST_BYTES = 256 << 20
FEW, FULL = 8, 200

odd = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def changed(draw: st.DrawFn, content: bytes) -> bytes:
    """A file with some of its bytes changed, cut out, put in or given twice; or noise in its place."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(found) - 1)))
        length = draw(st.integers(0, 24))
        match draw(st.sampled_from(["change", "cut", "put", "again", "end"])):
            case "change":
                found[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del found[at : at + length]
            case "put":
                found[at:at] = draw(
                    st.sampled_from([b"\0", b"\xff", b"{", b"[" * 9, b'"', b"\n", b"-1", b"\xef\xbb\xbf"])
                )
            case "again":
                found[at:at] = found[at : at + length]
            case "end":
                del found[at:]
    return bytes(found)


@st.composite
def retold(draw: st.DrawFn, content: bytes) -> bytes:
    """A JSON file in which values, deep inside, are others, are gone, or are of keys that nobody knows."""
    values = json.loads(content)
    values.pop("seal", None)
    for _ in range(draw(st.integers(1, 2))):
        place = values
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and place[key] and draw(st.integers(0, 3)):
                place = place[key]
                continue
            match draw(st.sampled_from(["other", "other", "gone", "new"])):
                case "other":
                    place[key] = draw(odd)
                case "gone":
                    del place[key]
                case "new" if isinstance(place, dict):
                    place[draw(st.text(max_size=5))] = draw(odd)
            break
    return json.dumps(values).encode()


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make_dataset(folder / "data")
    make_run(folder / "data", folder / "run")
    write_warc(folder / "a.warc.gz", {f"http://one.test/{n}": b"<html><p>words</p>" * n for n in range(3)})
    write_files(folder, {"documents": [document(f"{n}", "some words " * 9) for n in range(3)]})
    (folder / "points.csv").write_text(
        "name,params,tokens,value\na,1000,2e4,3.5\nb,2000,4e4,3.1\nc,4000,8e4,2.9\n"
    )
    (folder / "hosts").write_text("# nodes\nnode-0 slots=8\nnode-1 slots=8 # new\n\n10.0.0.7 slots=2\n")
    (folder / "robots.txt").write_text(
        "User-agent: *\nDisallow: /x*$\nAllow: /x/y\nCrawl-delay: 2\nSitemap: http://a/b\n"
    )
    (folder / "results.json").write_bytes(json.dumps(RESULTS).encode())
    (folder / "seeds").mkdir()
    return folder


RESULTS = {
    "format": 1, "checkpoint": "c", "weights_hash": "w", "origin": {},
    "results": [{"task": "t", "metric": "m", "value": 1.0, "stderr": None, "num_examples": 3, "subset": "all",
                 "dtype": "fp32", "data_sha256": "0", "protocol": "p", "paper": {}}],
}  # fmt: skip


def of_dataset(name: str, opening: Callable[[Path], object]) -> tuple[str, Callable[[Path, bytes], object]]:
    """Return where a file of a dataset lies, and how the dataset is opened with other bytes in it."""
    return f"data/{name}", lambda folder, content: opening(_with(folder / "data", name, content))


def of_checkpoint(
    name: str, opening: Callable[[Path], object]
) -> tuple[str, Callable[[Path, bytes], object]]:
    root = "run/checkpoints/step-00000004"
    return f"{root}/{name}", lambda folder, content: opening(_with(folder / root, name, content))


def of_file(name: str, opening: Callable[[Path], object]) -> tuple[str, Callable[[Path, bytes], object]]:
    return name, lambda folder, content: opening(_with(folder, name, content) / name)


def of_release(name: str, opening: Callable[[Path], object]) -> tuple[str, Callable[[Path, bytes], object]]:
    return f"release/{name}", lambda folder, content: opening(_with(folder / "release", name, content))


def _with(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder


def _shard(data: Path) -> object:
    shard = TokenShard(data / "shards/train-00000.ds", "uint16")
    return shard.tokens[:3], shard.ends[-3:]


def _manifest(data: Path) -> object:
    manifest = Manifest.read(data)
    manifest.check(data)
    return manifest.hash, manifest.tokens("train"), manifest.load_tokenizer(data)


def _state(checkpoint: Path) -> object:
    state = State(checkpoint / "state")
    state.check_names({"wte.weight": None})
    return state.restore_rng(0, 1)


def _meta(checkpoint: Path) -> object:
    return Meta.read(checkpoint), verify(checkpoint)


def _model(checkpoint: Path) -> object:
    return load_model(checkpoint / "model")


def _attempts(attempt: Path) -> object:
    return Run(attempt.parents[1]).attempts()


def _documents(path: Path) -> object:
    return list(read_documents(path))


def _table(path: Path) -> object:
    with Table(path, Columns(value="value")) as table:
        return table.points(["x"], positive_inputs=True, positive_values=True)


def _robots(path: Path) -> object:
    rules = robots.from_reply(200, path.read_bytes(), "loglinear")
    return rules.allows("http://one.test/x/y?z=%41"), rules.delay_seconds


def _body(path: Path) -> object:
    body = Body("gzip", max_bytes=1 << 20, max_ratio=100)
    body.add(path.read_bytes())
    return body.payload()


READERS: dict[str, tuple[str, Callable[[Path, bytes], object], tuple[type[Exception], ...]]] = {
    "manifest": (*of_dataset("manifest.json", _manifest), (LoglinearError,)),
    "token shard": (*of_dataset("shards/train-00000.ds", _shard), (LoglinearError,)),
    "index of a token shard": (*of_dataset("shards/train-00000.ds.index", _shard), (LoglinearError,)),
    "tokenizer.json": (*of_dataset("tokenizer.json", tokenizer.load), (ValueError, FileNotFoundError)),
    "tokenizer_config.json": (*of_dataset("tokenizer_config.json", tokenizer.load), (ValueError,)),
    "meta of a checkpoint": (*of_checkpoint("meta.json", _meta), (LoglinearError,)),
    "index of a state": (*of_checkpoint("state/index.json", _state), (LoglinearError,)),
    "shard of a state": (*of_checkpoint(STATE, _state), (LoglinearError,)),
    "config.json of a model": (*of_checkpoint("model/config.json", _model), (ValueError,)),
    "weights of a model": (*of_checkpoint("model/model.safetensors", _model), (ValueError,)),
    "metrics.jsonl": (*of_file("run/metrics.jsonl", lambda path: Run(path.parent).rows()), (LoglinearError,)),
    "an attempt": (*of_file("run/attempts/000.json", _attempts), (LoglinearError,)),
    "results": (*of_file("results.json", Results.read), (LoglinearError,)),
    "configuration": (*of_file("run/config.yaml", lambda path: load(stage.Config, path)), (LoglinearError,)),
    "table of points": (*of_file("points.csv", _table), (LoglinearError,)),
    "points of a report": (*of_file("points.csv", points_of), (LoglinearError,)),
    "hostfile": (*of_file("hosts", hostfile.read), (ValueError,)),
    "robots.txt": (*of_file("robots.txt", _robots), ()),
    "WARC": (*of_file("a.warc.gz", lambda path: list(read_pages(path, 0, 1))), (LoglinearError,)),
    "packed body": (*of_file("a.warc.gz", _body), (BodyRefusedError,)),
    "documents": (*of_file("documents.jsonl.zst", _documents), (LoglinearError,)),
    "records": (*of_file("documents.jsonl.zst", read_records), (LoglinearError,)),
    "TensorFlow's index": (*of_release("model.ckpt.index", load_model), (ValueError, FileNotFoundError)),
    "TensorFlow's tensors": (*of_release("model.ckpt.data-00000-of-00001", load_model), (ValueError,)),
    "hparams.json": (*of_release("hparams.json", load_model), (ValueError,)),
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_a_file_with_changed_bytes(made, tmp_path, drill, name):
    place, opening, refusals = READERS[name]
    folder = surroundings(made, tmp_path, place)
    content = (folder / place).read_bytes()

    fuzz(drill, changed(content), lambda bytes: opening(folder, bytes), refusals)


@pytest.mark.parametrize("name", [name for name, (place, *_) in READERS.items() if place.endswith(".json")])
def test_json_that_says_odd_things(made, tmp_path, drill, name):
    place, opening, refusals = READERS[name]
    folder = surroundings(made, tmp_path, place)
    content = (folder / place).read_bytes()

    fuzz(drill, retold(content), lambda bytes: opening(folder, bytes), refusals)


@pytest.mark.parametrize("as_yaml", [False, True])
def test_configurations_that_say_odd_things(made, tmp_path, drill, as_yaml):
    values = yaml.safe_load((made / "run/config.yaml").read_text())
    path = tmp_path / "c.yaml"

    def opening(content: bytes) -> None:
        path.write_bytes(
            yaml.safe_dump(json.loads(content), allow_unicode=True).encode() if as_yaml else content
        )
        load(stage.Config, path)

    fuzz(drill, retold(json.dumps(values).encode()), opening, (LoglinearError,))


def test_overrides(tmp_path, drill):
    (tmp_path / "c.yaml").write_text("optim: {lr: 1}\n")
    words = st.text(max_size=30) | st.from_regex(r"\A[a-z.]{0,9}=[\[{!&*|>'\"-]?.{0,12}\Z")

    fuzz(drill, words, lambda text: compose(tmp_path / "c.yaml", [text]), (LoglinearError,))


def test_addresses(drill):
    parts = st.sampled_from(
        ["http://", "https://", "//", "@", ":", "[::1]", "%00", "%2f", "..", "/", "?", "#", "xn--", "é", "。"]
    )
    urls = st.lists(parts | st.text(max_size=6), max_size=8).map("".join) | st.text(max_size=40)

    def opening(url: str) -> None:
        found = canonical(url)
        assert canonical(found) == found
        surt(found)
        target(url)

    fuzz(drill, urls, opening, (UrlError,))


def surroundings(made: Path, tmp_path: Path, place: str) -> Path:
    """Return a folder with the file at a place, and what lies around it."""
    folder = tmp_path / "here"
    if place.startswith("release/"):
        shutil.copytree(RELEASE, folder / "release")
        return folder
    return shutil.copytree(made, folder)


def fuzz(drill: Any, inputs: st.SearchStrategy, opening: Callable[[Any], object], refusals: tuple) -> None:
    """Give a reader many inputs: each is read, or refused in its own words, in bounded time and memory."""
    drill.promise("R24", WORDS)
    number = len(drill.trials(few=FEW, full=FULL))
    slowest = [0.0]

    @settings(
        max_examples=number, database=None, deadline=None, derandomize=False, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(inputs)
    def attempt(given_input: Any) -> None:
        begun = time.process_time()
        try:
            opening(given_input)
        except refusals as refusal:
            assert str(refusal).strip()
        except RuntimeError as refusal:
            # torch's own words for a model, of a folder that says so, larger than any memory.
            assert "can't allocate memory" in str(refusal), refusal
        slowest[0] = max(slowest[0], time.process_time() - begun)

    before = peak_bytes()
    seed(drill.random.randrange(2**32))(attempt)()
    assert slowest[0] < SLOWEST_SECONDS
    assert peak_bytes() - before < MOST_BYTES
    drill.passed(number)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
