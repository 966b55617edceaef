from pathlib import Path

import pytest

from pipeline.data.inputs import fingerprints, matching
from pipeline.errors import ConfigError


def test_paths_patterns_and_folders_are_found_once_each(tmp_path: Path):
    for name in ("a.jsonl", "b.jsonl", "more/c.jsonl", "odd[1].jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)

    def found(*patterns: str) -> list[str]:
        paths = matching("paths", [str(tmp_path / pattern) for pattern in patterns])
        return [str(path.relative_to(tmp_path)) for path in paths]

    assert found("*.jsonl") == ["a.jsonl", "b.jsonl", "odd[1].jsonl"]
    assert found("a.jsonl", "[ab].jsonl") == ["a.jsonl", "b.jsonl"]
    assert found("odd[1].jsonl") == ["odd[1].jsonl"]
    assert found("more", "**/c.jsonl") == ["more/c.jsonl"]


def test_every_pattern_without_a_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError) as refusal:
        matching("paths", [str(tmp_path / "x.gz"), str(tmp_path), str(tmp_path / "*.zst")])

    assert [line.split(": ")[0] for line in str(refusal.value).splitlines()] == ["paths"] * 3
    assert "x.gz: no such file" in str(refusal.value)


@pytest.mark.parametrize("place", [0, 70_000, 200_000 - 1])
def test_a_change_at_either_end_or_of_the_length_changes_the_fingerprint(tmp_path: Path, place: int):
    path = tmp_path / "dump"
    content = bytearray(200_000)
    path.write_bytes(content)
    before = fingerprints([path])

    path.write_bytes(content + b"x")
    assert fingerprints([path]) != before
    content[place] = 1
    path.write_bytes(content)
    assert (fingerprints([path]) == before) == (place == 70_000)  # the middle is not read, as documented


def test_an_empty_file_has_a_fingerprint(tmp_path: Path):
    (tmp_path / "empty").touch()

    assert list(fingerprints([tmp_path / "empty"])) == [str(tmp_path / "empty")]
