from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import FormatError
from pipeline.formats import checkpoint
from pipeline.formats.checkpoint import (
    Meta,
    listed,
    newest_whole,
    retain,
    verify,
    write_summed,
    writing,
)
from pipeline.formats.publish import blake3_of
from tests.pipeline.formats.blocks import result_of

PUBLISH = """
import os, sys
from pathlib import Path
from pipeline.formats.checkpoint import Meta, retain, writing
folder, last = Path(sys.argv[1]), int(sys.argv[2])
for step in range(1, last + 1):
    rest = dict(complete=False, engine="e", world_size=1, epoch=1, config_hash="", data_hash="")
    meta = Meta(step=step, tokens=step, **rest)
    with writing(folder, meta, lambda: None) as draft:
        for name in ("model/model.safetensors", "state/index.json", "state/tensors.safetensors"):
            (draft / name).parent.mkdir(exist_ok=True)
            (draft / name).write_bytes(os.urandom(2000))
    retain(folder, 2)
    print(step, flush=True)
"""


def publish(folder: Path, step: int, content: bytes = b"tensors") -> Path:
    meta = Meta(
        step=step, tokens=step * 10, complete=False, engine="single", world_size=1, epoch=1, config_hash="c",
        data_hash="d", skipped=((2, 4),),
    )  # fmt: skip
    with writing(folder, meta, lambda: None) as draft:
        (draft / "state").mkdir()
        (draft / "state" / "tensors").write_bytes(content)
    return folder / checkpoint.name_of(step)


def test_a_checkpoint_reads_back_as_it_was_written(tmp_path):
    meta = verify(publish(tmp_path, 7))

    assert (meta.step, meta.tokens, meta.skipped) == (7, 70, ((2, 4),))
    assert list(meta.blake3) == ["state/tensors"]
    assert len(meta.blake3["state/tensors"]) == 64


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda path: (path / "state/tensors").write_bytes(b"tensorz"),
            r"state/tensors: blake3 \w+, meta.json says",
        ),
        (lambda path: (path / "state/tensors").write_bytes(b""), "state/tensors: blake3"),
        (lambda path: (path / "state/tensors").unlink(), "state/tensors: missing"),
        (lambda path: (path / "meta.json").unlink(), "meta.json: no such file"),
        (lambda path: (path / "meta.json").write_text("{"), "meta.json:1: not valid JSON"),
        (lambda path: (path / "meta.json").write_text('{"format": 9}'), "format 9, this version reads 1"),
        (lambda path: (path / "meta.json").write_text('{"format": 1}'), "meta.json: step: field required"),
        (lambda path: (path / "extra").write_text("?"), "extra: not in meta.json"),
        (lambda path: path.rename(path.with_name("step-00000009")), "is of step 8, not of step-00000009"),
    ],
)
def test_damage_is_named_and_the_newest_whole_checkpoint_used(tmp_path, damage, message, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("loglinear"), "propagate", True)
    whole = publish(tmp_path, 4)
    damage(publish(tmp_path, 8))

    with pytest.raises(FormatError, match=message):
        verify(listed(tmp_path)[-1])
    found = newest_whole(tmp_path)
    assert found is not None and found[0] == whole
    assert "is damaged" in caplog.text


def test_every_flipped_bit_is_found(tmp_path):
    path = publish(tmp_path, 1, bytes(64)) / "state" / "tensors"
    for bit in range(512):
        content = bytearray(64)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(FormatError, match="blake3"):
            verify(path.parents[1])


def test_retention_keeps_the_newest(tmp_path):
    for step in (1, 2, 10, 3):
        publish(tmp_path, step)

    assert [path.name for path in retain(tmp_path, 2)] == ["step-00000001", "step-00000002"]
    assert [path.name for path in tmp_path.iterdir()] == [path.name for path in listed(tmp_path)]


def test_retention_keeps_every_so_many_steps_for_ever(tmp_path):
    for step in range(1, 8):
        publish(tmp_path, step)
        retain(tmp_path, 1, keep_every_steps=3)

    assert [path.name for path in listed(tmp_path)] == ["step-00000003", "step-00000006", "step-00000007"]


@pytest.mark.parametrize("size", [0, 1, 4096, 3 * 2**20, 3 * 2**20 + 5])
@pytest.mark.parametrize("direct", [True, False])
def test_a_file_is_written_as_it_is_and_its_sum_taken_on_the_way(tmp_path, monkeypatch, size, direct):
    monkeypatch.setattr(checkpoint, "BLOCK_BYTES", 2**20)
    if not direct:
        monkeypatch.delattr(os, "O_DIRECT", raising=False)
    content, path = os.urandom(size), tmp_path / "file"

    assert result_of(write_summed(path, [content[:1000], memoryview(content)[1000:]])) == blake3_of(path)
    assert path.read_bytes() == content


def test_a_file_system_that_refuses_to_pass_the_cache_by_is_written_to_all_the_same(tmp_path, monkeypatch):
    write, refused = os.write, []

    def refuses(file, block):
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT:
            refused.append(file)
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return write(file, block)

    monkeypatch.setattr(os, "write", refuses)
    result_of(write_summed(tmp_path / "file", [b"some bytes"]))

    assert refused
    assert (tmp_path / "file").read_bytes() == b"some bytes"


def test_a_file_changed_after_its_sum_was_taken_is_found(tmp_path):
    meta = Meta(
        step=1, tokens=1, complete=True, engine="e", world_size=1, epoch=1, config_hash="", data_hash=""
    )
    sums: dict[str, str] = {}
    with writing(tmp_path, meta, lambda: None, sums) as draft:
        sums["tensors"] = result_of(write_summed(draft / "tensors", [b"as it was in memory"]))
        (draft / "tensors").write_bytes(b"as a bad disk has it")

    with pytest.raises(FormatError, match=r"tensors: blake3"):
        verify(tmp_path / "step-00000001")


def test_a_writer_that_lost_its_run_publishes_nothing(tmp_path):
    def lost():
        raise RuntimeError("epoch 2 took over")

    meta = Meta(
        step=1, tokens=1, complete=True, engine="e", world_size=1, epoch=1, config_hash="", data_hash=""
    )
    with pytest.raises(RuntimeError), writing(tmp_path, meta, lost) as draft:
        (draft / "file").write_text("x")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("delay_ms", [0, 3, 7, 15, 40])
def test_a_kill_at_any_moment_leaves_the_newest_published_checkpoint_whole(tmp_path, delay_ms):
    process = subprocess.Popen(
        [sys.executable, "-c", PUBLISH, str(tmp_path), "1000"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(3):
        told = int(process.stdout.readline())
    try:
        process.wait(delay_ms / 1000)
    except subprocess.TimeoutExpired:
        process.kill()
    told = max([told, *map(int, process.communicate()[0].split())])
    found = newest_whole(tmp_path)

    assert found is not None and found[1].step >= told
    assert found[0] == listed(tmp_path)[-1], (
        "what is listed last is whole: nothing half-written has a final name"
    )


def test_a_full_disk_leaves_the_checkpoint_before_whole(small_disk):
    small = small_disk(64)
    whole = publish(small, 1, bytes(20_000))

    with pytest.raises(OSError, match="No space left"):
        publish(small, 2, bytes(100_000))

    assert newest_whole(small) is not None
    assert verify(whole).step == 1
    assert [path.name for path in small.iterdir()] == ["step-00000001"]


def test_meta_is_plain_json_that_others_can_read(tmp_path):
    values = json.loads((publish(tmp_path, 3) / "meta.json").read_text())

    assert values.keys() >= {"format", "step", "tokens", "skipped", "engine", "world_size", "epoch", "blake3"}
