"""R17: names in files of others lead to no file outside the directory that they speak of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import blake3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from launch import hostfile
from pipeline.data.documents import TaskOutput, Text, line_of, writing_documents
from pipeline.data.stored.pages import check_sizes
from pipeline.errors import FormatError
from pipeline.formats.checkpoint import verify
from pipeline.formats.manifest import Manifest
from pipeline.trainer.state import State
from tests.drills.commands import command, write_yaml
from tests.pipeline.data.conftest import write_warc
from tests.pipeline.formats.editing import edit

WORDS = "names that lead out of their directory"
OUT = [
    "../outside",
    "../../outside",
    "/etc/hostname",
    "shards/../../outside",
    "./x",
    "..",
    "",
    "a//b",
    "x\0y",
]


@pytest.mark.parametrize("name", OUT)
def test_of_a_manifest_are_refused(made, tmp_path, drill, name):
    drill.promise("R17", WORDS)
    data = shutil.copytree(made / "data", tmp_path / "data")
    manifest = json.loads((data / "manifest.json").read_text())
    manifest["splits"]["train"][0]["name"] = name

    edit(data / "manifest.json", splits=manifest["splits"])
    with pytest.raises(FormatError, match="manifest.json: splits.train.0.name: .* names no file below"):
        Manifest.read(data)
    edit(data / "manifest.json", splits={}, files={name: "0" * 64})
    with pytest.raises(FormatError, match="manifest.json: files.* names no file below"):
        Manifest.read(data)


@pytest.mark.parametrize("name", OUT)
def test_of_a_checkpoint_are_refused(made, tmp_path, drill, name):
    drill.promise("R17", WORDS)
    checkpoint = shutil.copytree(made / "run/checkpoints/step-00000004", tmp_path / "step-00000004")
    sums = json.loads((checkpoint / "meta.json").read_text())["blake3"]
    index = json.loads((checkpoint / "state/index.json").read_text())

    edit(checkpoint / "meta.json", blake3={**sums, name: "0" * 64})
    with pytest.raises(FormatError, match="meta.json: blake3.* names no file below"):
        verify(checkpoint)
    index["tensors"]["weight/wte.weight"] = name
    (checkpoint / "state/index.json").write_text(json.dumps(index))
    with pytest.raises(FormatError, match="index.json: tensors.weight/wte.weight: .* names no file below"):
        State(checkpoint / "state")


@pytest.mark.parametrize("name", [name for name in OUT if "\0" not in name])
def test_of_a_fetch_log_are_refused(tmp_path, drill, name):
    drill.promise("R17", WORDS)
    pages = tmp_path / "data" / "pages"
    pages.mkdir(parents=True)
    pq.write_table(pa.table({"warc": [name], "offset": [0], "length": [7]}), pages / "fetch-log.parquet")

    with pytest.raises(FormatError, match="fetch-log.parquet: .* names no file"):
        check_sizes(pages)


@pytest.mark.parametrize("name", ["../../outside", "/outside", "train/../../../outside"])
def test_of_documents_are_refused(tmp_path, drill, name):
    drill.promise("R17", WORDS)
    folder = tmp_path / "a" / "b"
    output = TaskOutput(folder / "kept", folder / "dropped", folder / "counts")
    output.begin(0)

    with pytest.raises(FormatError, match="names no file below"):
        output.keep(Text("text", "id", {}), name)
    with pytest.raises(FormatError, match="names no file below"):
        output.drop(Text("text", "id", {}), name)
    output.publish()
    assert not list(tmp_path.glob("outside*")) and not list(folder.glob("outside*"))


@pytest.mark.parametrize(
    "host",
    ["-oProxyCommand=touch${IFS}x", "$(touch${IFS}x)", "`touch`", "a;b", "a|b", "a,b", "a@b", "../x", "a'b"],
)
def test_of_hosts_that_a_shell_or_ssh_would_obey_are_refused(drill, host):
    drill.promise("R17", WORDS)
    with pytest.raises(ValueError, match="hosts:1: .* is not HOST slots=N"):
        hostfile.parse(f"{host} slots=2", "hosts")


@pytest.mark.parametrize("host", ["node-0", "node_1.cluster.example.org", "10.0.0.7", "[fe80::1]", "fd00::7"])
def test_of_hosts_are_taken(host):
    assert hostfile.parse(f"{host} slots=2", "hosts") == {host: 2}


@pytest.mark.slow
def test_of_pages_and_documents_make_no_file_outside_the_dataset(tmp_path, drill):
    drill.promise("R17", WORDS)
    inputs, out = tmp_path / "in", tmp_path / "work" / "out"
    urls = [
        "http://one.test/../../../outside",
        "file:///etc/passwd",
        "../../outside",
        "http://..%2f..%2foutside/",
        "/x",
    ]
    text = b"<html><title>../../outside</title><body><p>" + b"Some words of a page that are kept. " * 20
    write_warc(inputs / "a.warc.gz", {url: text + url.encode() for url in urls})
    with writing_documents(inputs / "mine.jsonl.zst") as file:
        for number, url in enumerate(urls):
            told = {
                "split": "../../../outside",
                "domain": "../..",
                "language": "../../../outside",
                "url": url,
            }
            words = f"{number} " + "other words that stay as they are " * 20
            file.write(line_of(Text(words, f"../../{number}", {**told, "dropped_because": "../../outside"})))
    shared = {"dedup": {"near": None}, "tokenizer": {"kind": "train", "vocab_size": 280}}
    shared |= {"splits": {"validation": 0.0, "test": 0.0}, "execute": {"workers": 1}}
    sources = {
        "pages": {
            "paths": [str(inputs / "a.warc.gz")],
            "extract": {"kind": "resiliparse", "main_content": False},
        },
        "documents": {"paths": [str(inputs / "mine.jsonl.zst")], "read": {"kind": "jsonl"}},
    }
    before = everything(tmp_path)

    for name, source in sources.items():
        config = write_yaml(tmp_path / "work" / f"{name}.yaml", {"out": str(out / name), **source, **shared})
        ended = command("data", config)
        assert ended.code == 0, ended.said

    made_now = everything(tmp_path) - before
    assert all(
        Path(path).is_relative_to(out) or path.endswith(".yaml") or path == str(out.parent)
        for path in made_now
    )


def test_of_links_to_files_outside_are_not_exported(made, tmp_path, drill):
    drill.promise("R17", WORDS)
    run = shutil.copytree(made / "run", tmp_path / "run")
    checkpoint = run / "checkpoints/step-00000004"
    (tmp_path / "secret").write_text("planted")
    (checkpoint / "model/extra.json").symlink_to(tmp_path / "secret")

    ended = command("export", checkpoint, "--to", tmp_path / "exported")

    assert ended.code == 0, ended.said
    assert not any(path.read_bytes() == b"planted" for path in (tmp_path / "exported").iterdir())


def test_a_link_inside_a_checkpoint_is_no_file_of_it(made, tmp_path, drill):
    drill.promise("R17", WORDS)
    checkpoint = shutil.copytree(made / "run/checkpoints/step-00000004", tmp_path / "step-00000004")
    (tmp_path / "outside").write_bytes(b"planted")
    (checkpoint / "model/vocab.json").unlink()
    (checkpoint / "model/vocab.json").symlink_to(tmp_path / "outside")
    sums = json.loads((checkpoint / "meta.json").read_text())["blake3"]
    edit(checkpoint / "meta.json", blake3={**sums, "model/vocab.json": blake3.blake3(b"planted").hexdigest()})

    with pytest.raises(FormatError, match=r"vocab.json: a link"):
        verify(checkpoint)


def everything(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}
