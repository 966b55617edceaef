"""Sets from a folder or by name: found as they are published, checked, and named where they are missing."""

import hashlib
import importlib
import json
import pkgutil
from pathlib import Path

import pytest

import pipeline.evaluate
import pipeline.evaluate.tasks
from pipeline.errors import ConfigError, FormatError
from pipeline.formats.source import Hub, MissingSet, Source, find, only, read


def lines(files):
    return [line for path in files for line in path.read_text().splitlines()]


def source(**values):
    given = {
        "name": "Riddles",
        "layouts": (("riddles/test.txt",), ("riddles-v2/part-*.txt", "riddles-v2/keys.txt")),
        "parse": lines,
        "where": "https://example.org/riddles.tgz",
    }
    return Source(**{**given, **values})


@pytest.fixture
def folder(tmp_path):
    for name, text in {"part-1": "b\n", "part-0": "a\n", "keys": "k\n"}.items():
        path = tmp_path / "riddles-v2" / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_the_first_layout_that_is_whole_is_read_in_its_order(folder):
    assert read(source(), folder).rows == ["a", "b", "k"]

    (folder / "riddles").mkdir()
    (folder / "riddles" / "test.txt").write_text("first\n")

    assert read(source(), folder).rows == ["first"]


def test_a_layout_with_a_file_missing_is_none(folder):
    (folder / "riddles-v2" / "keys.txt").unlink()

    with pytest.raises(MissingSet) as told:
        read(source(), folder)

    assert isinstance(told.value, ConfigError)
    assert str(told.value) == (
        f"Riddles: not below {folder} (looked for riddles/test.txt; or riddles-v2/part-*.txt and "
        "riddles-v2/keys.txt); get it from https://example.org/riddles.tgz"
    )


def test_the_hash_is_that_of_the_file_or_changes_with_any_of_several(folder):
    first = read(source(), folder).sha256
    (folder / "riddles-v2" / "keys.txt").write_text("K\n")
    second = read(source(), folder).sha256
    (folder / "riddles").mkdir()
    (folder / "riddles" / "test.txt").write_bytes(b"alone")

    assert first != second
    assert read(source(), folder).sha256 == hashlib.sha256(b"alone").hexdigest()


def test_a_file_that_is_not_the_published_one_is_refused_unless_sums_are_not_checked(folder):
    published = hashlib.sha256(b"k\n").hexdigest()
    asked = source(sums={"riddles-v2/keys.txt": published})
    assert read(asked, folder).rows == ["a", "b", "k"]
    (folder / "riddles-v2" / "keys.txt").write_text("other\n")

    with pytest.raises(FormatError, match=rf"keys\.txt: SHA-256 \w{{64}}, but .* {published}; get it anew"):
        read(asked, folder)
    assert read(asked, folder, check_sums=False).rows == ["a", "b", "other"]


def test_a_set_without_a_row_is_refused(folder):
    (folder / "riddles").mkdir()
    (folder / "riddles" / "test.txt").touch()

    with pytest.raises(FormatError, match="Riddles is there but holds no row"):
        read(source(), folder)


def test_files_of_a_wildcard_go_by_their_own_names(folder):
    names = find(source(), folder)

    assert list(names) == ["riddles-v2/part-0.txt", "riddles-v2/part-1.txt", "riddles-v2/keys.txt"]


def test_a_set_of_one_file_is_not_there_twice(tmp_path):
    assert only([tmp_path / "a"]) == tmp_path / "a"
    with pytest.raises(FormatError, match="more than one of a set with one file"):
        only([tmp_path / "a", tmp_path / "b"])


def test_without_a_folder_and_a_name_a_set_is_missing():
    with pytest.raises(MissingSet, match="no public copy by name is known; give data=DIR"):
        read(source(), None)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder as `datasets` loads it by name."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [{"riddle": "what walks", "answer": "man"}, {"riddle": "what sings", "answer": None}]
    path = tmp_path / "repository" / "test.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path.parent)


def test_a_set_is_had_by_name(repository):
    hub = Hub(path=repository, split="test", row=lambda row: row["riddle"])

    found = read(source(hub=hub), None)

    assert found.rows == ["what walks", "what sings"] and len(found.sha256) == 64


def test_a_row_that_is_none_is_named(repository):
    hub = Hub(path=repository, split="test", row=lambda row: row["answer"].upper())

    with pytest.raises(FormatError, match=rf"{repository}, row 1: AttributeError"):
        read(source(hub=hub), None)


def test_a_name_that_leads_nowhere_is_a_missing_set(tmp_path):
    hub = Hub(path=str(tmp_path / "none"), split="test", row=str)

    with pytest.raises(MissingSet, match=r"could not be had by name \(\w+: .*; give data=DIR with it"):
        read(source(hub=hub), None)


DOCUMENT = Path(__file__).parents[3] / "docs" / "evaluation-sets.md"


def shipped():
    """Return every source of a task, by name."""
    names = [
        f"{package.__name__}.{module.name}"
        for package in (pipeline.evaluate, pipeline.evaluate.tasks)
        for module in pkgutil.iter_modules(package.__path__)
    ]
    values = [value for name in names for value in vars(importlib.import_module(name)).values()]
    nested = [each for value in values if isinstance(value, dict) for each in value.values()]
    return {each.name: each for each in (*values, *nested) if isinstance(each, Source)}


def row(told):
    """Return what the document says of a set."""
    layouts = "<br>or ".join(" ".join(f"`{name}`" for name in layout) for layout in told.layouts)
    by_name = f"`{told.hub.path}`" if told.hub else "—"
    return f"| {told.name} | {layouts} | {told.where} | {by_name} | {'yes' if told.sums else '—'} |"


def test_every_set_is_documented_as_it_is_read():
    found = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")][1:]

    assert found == [row(told) for _, told in sorted(shipped().items())]
