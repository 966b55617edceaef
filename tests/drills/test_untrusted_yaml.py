"""R17: YAML with tags, datasets with scripts, and a dataset's own files: nothing in them is run."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.drills import hostile
from tests.drills.commands import command, run_values, write_yaml
from tests.drills.hostile import RAN_NOTHING, REFUSED, assert_opened_safely
from tests.pipeline.formats.editing import edit

CONFIGURATIONS = {
    "data": "out: {value}\npaths: [x]\nread: {{kind: jsonl}}\n",
    "train": "out: {value}\n",
    "evaluate": "checkpoint: {value}\n",
    "finetune": "out: {value}\n",
    "study": "out: {value}\n",
}


@pytest.mark.parametrize("tag", hostile.yamls(Path("x")))
def test_tags_in_configurations_of_every_kind(tmp_path, canary, drill, tag):
    drill.promise("R17", RAN_NOTHING)
    value = hostile.yamls(canary)[tag]
    for verb, text in CONFIGURATIONS.items():
        (tmp_path / "c.yaml").write_text(text.format(value=value))
        assert "c.yaml:1" in assert_opened_safely([verb, tmp_path / "c.yaml"], REFUSED, canary)
    (tmp_path / "c.yaml").write_text(f"out: runs/x\nfrom: {value}\n")
    assert "c.yaml:2" in assert_opened_safely(["train", tmp_path / "c.yaml"], REFUSED, canary)
    (tmp_path / "below.yaml").write_text(f"n_layer: {value}\n")
    (tmp_path / "c.yaml").write_text("out: runs/x\nmodel:\n  from: below.yaml\n")
    assert "below.yaml:1" in assert_opened_safely(["train", tmp_path / "c.yaml"], REFUSED, canary)
    (tmp_path / "c.yaml").write_text(f"{value}: 1\n")
    assert "c.yaml:1" in assert_opened_safely(["train", tmp_path / "c.yaml"], REFUSED, canary)
    words = ["train", "configs/train/gpt2-117m.yaml", f"seed={value}"]
    assert "command line: seed" in assert_opened_safely(words, REFUSED, canary)


@pytest.mark.parametrize("tag", hostile.yamls(Path("x")))
def test_tags_in_the_yaml_that_other_files_are(made, tmp_path, canary, drill, tag):
    drill.promise("R17", RAN_NOTHING)
    value = hostile.yamls(canary)[tag]
    run = shutil.copytree(made / "run", tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    (run / "config.yaml").write_text(f"model: {value}\n")
    assert_opened_safely(["report", run], REFUSED, canary)
    assert_opened_safely(
        ["train", write_yaml(tmp_path / "c.yaml", run_values(made / "data", run))], REFUSED, canary
    )

    (tmp_path / "launch.yaml").write_text(f"kind: torchrun\nprocesses: {value}\n")
    values = write_yaml(tmp_path / "new.yaml", run_values(made / "data", tmp_path / "new"))
    words = ["train", values, "--on", tmp_path / "launch.yaml", "--dry-run"]
    assert "launch.yaml:2" in assert_opened_safely(words, REFUSED, canary)

    (tmp_path / "list.yaml").write_text(f"domains: {value}\n")
    (tmp_path / "links.txt").write_text("http://one.test/\n")
    data = {
        "out": str(tmp_path / "web"),
        "links": {"inputs": [str(tmp_path / "links.txt")], "blocklists": [str(tmp_path / "list.yaml")]},
    }
    web = write_yaml(
        tmp_path / "web.yaml", {"from": str(Path("configs/data/webtext.yaml").absolute()), **data}
    )
    assert "list.yaml" in assert_opened_safely(["data", web, "--until", "links"], REFUSED, canary)


def test_a_dataset_script_and_pickles_in_a_folder_for_the_library_datasets(tmp_path, canary, drill):
    drill.promise("R17", RAN_NOTHING)
    pickled = hostile.pickles(canary)["reduce, protocol 2"]
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "theirs.py").write_text(f"import os\nos.mkdir({str(canary)!r})\n")
    for name in ("train.pkl", "train.pickle", "train.pandas", "train.pt", "dataset_infos.json"):
        (folder / name).write_bytes(pickled)
    (folder / "README.md").write_text(
        "---\nbuilder_name: pandas\nconfigs:\n- config_name: x\n  data_files: '*.pkl'\n---"
    )
    with tarfile.open(folder / "train.tar", "w") as archive:
        for name in ("0.pyd", "0.pickle", "0.pkl", "0.pth", "0.npy"):
            member = tarfile.TarInfo(name)
            content = {"pth": hostile.torch_file, "npy": hostile.object_array}.get(
                name[2:], lambda _: pickled
            )(canary)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    values = {"out": str(tmp_path / "out"), "paths": [], "read": {"kind": "datasets", "name": str(folder)}}
    values |= {"tokenizer": {"kind": "train", "vocab_size": 300}}

    ended = command("data", write_yaml(tmp_path / "c.yaml", values), "--until", "read")

    assert not canary.exists()
    assert ended.code == REFUSED, ended.said


@pytest.mark.parametrize("name", ["manifest.json", "tokenizer.json", "shards/train-00000.ds.index"])
def test_a_file_of_a_dataset_that_is_a_pickle(made, tmp_path, canary, drill, name):
    drill.promise("R17", RAN_NOTHING)
    data = shutil.copytree(made / "data", tmp_path / "data")
    (data / name).write_bytes(hostile.pickles(canary)["reduce, protocol 2"])

    said = assert_opened_safely(
        ["train", write_yaml(tmp_path / "c.yaml", run_values(data, tmp_path / "run"))], REFUSED, canary
    )
    assert name in said


@pytest.mark.parametrize(
    "dtype", ["O", "object", "|O", "V2", "M8[s]", "float16", ">u2", "(2,)u1", "x", 7, None]
)
def test_a_manifest_may_not_say_that_its_tokens_are_python_objects(made, tmp_path, drill, dtype):
    drill.promise("R17", RAN_NOTHING)
    data = shutil.copytree(made / "data", tmp_path / "data")
    edit(data / "manifest.json", dtype=dtype)

    ended = command("train", write_yaml(tmp_path / "c.yaml", run_values(data, tmp_path / "run")))

    assert ended.code == REFUSED
    assert "manifest.json: dtype" in ended.said
