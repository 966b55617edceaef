"""The README tells the truth: its commands parse, its map is the tree."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.formats.manifest import Manifest
from pipeline.formats.shards import ShardWriter

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "CONTRIBUTING.md")
DRY = ("data", "train", "evaluate", "study")


def commands() -> list[str]:
    blocks = [
        block
        for name in DOCUMENTS
        for block in re.findall(
            r"^```sh\n(.*?)^```", (ROOT / name).read_text(), flags=re.MULTILINE | re.DOTALL
        )
    ]
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    launching = "\n".join(path.read_text() for path in sorted((ROOT / "configs" / "launch").glob("*.yaml")))
    lines += re.findall(r"^#   (loglinear .*)$", launching, flags=re.MULTILINE)  # a chain of commands
    return sorted({line for line in lines if line.startswith("loglinear ")})


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the shipped configurations and the dataset that the README speaks of."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    dataset = tmp_path / "data" / "webtext"
    splits = {}
    for split in ("train", "validation", "test"):
        writer = ShardWriter(dataset / "shards" / f"{split}-00000.ds", "uint16")
        writer.write([1] * 4096)
        splits[split] = (writer.close(),)
    Manifest(
        tokenizer="gpt2",
        tokenizer_fingerprint="0",
        vocab_size=50257,
        dtype="uint16",
        eot_id=50256,
        splits=splits,
        text_bytes=dict.fromkeys(splits, 16384),
    ).write(dataset)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", commands())
def test_a_documented_command_parses_and_plans(command: str, checkout: Path) -> None:
    words = shlex.split(command)[1:]
    if words[0] in DRY:
        words.append("--dry-run")
    elif words[0] not in ("plan", "show", "ls"):
        words.append("--help")

    done = CliRunner().invoke(app, words, catch_exceptions=False)

    assert done.exit_code == 0, done.output


def test_the_readme_shows_both_commands_of_a_newcomer() -> None:
    text = (ROOT / "README.md").read_text()

    assert "\nmake quickstart" in text
    assert "\nmake test" in text


def test_the_map_is_the_tree() -> None:
    told = set(re.findall(r"^\s*- `([\w./-]+\.py)`", (ROOT / "README.md").read_text(), flags=re.MULTILINE))
    files = {
        str(file.relative_to(ROOT))
        for package in ("model", "launch", "pipeline")
        for file in (ROOT / package).rglob("*.py")
        if file.name != "__init__.py"
    }

    assert told == files


def test_every_verb_has_an_example_that_parses() -> None:
    for command in app.registered_commands:
        assert command.epilog and command.epilog.startswith("Example: loglinear "), command.callback
        assert (command.help or command.callback.__doc__ or "").strip() if command.callback else False
