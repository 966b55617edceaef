from pathlib import Path

import pytest

from pipeline.data.documents import Text, line_of, writing_documents
from pipeline.errors import FormatError
from pipeline.formats.samples import MOST_FILES, sample


def write(folder: Path, names: list[str], files: int = 2) -> None:
    for number in range(files):
        with writing_documents(folder / f"{number:05d}.jsonl.zst") as file:
            file.writelines(line_of(Text(f"the text of {name}", name)) for name in names[number::files])


def test_a_sample_is_the_same_however_the_documents_lie(tmp_path: Path) -> None:
    names = [f"{number:03d}" for number in range(40)]
    write(tmp_path / "a", names)
    write(tmp_path / "b", names[::-1], files=3)

    chosen = [row["id"] for row in sample(tmp_path / "a", 4)]

    assert [row["id"] for row in sample(tmp_path / "b", 4)] == chosen
    assert sorted(chosen) != names[:4]


def test_files_are_looked_at_all_over_a_folder(tmp_path: Path) -> None:
    names = [f"{number:03d}" for number in range(400)]
    write(tmp_path, names, files=40)

    looked_at = {int(row["id"]) % 40 for row in sample(tmp_path, 400)}

    assert looked_at == set(range(0, 40, 40 // MOST_FILES))


def test_an_empty_folder_has_no_sample_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    assert sample(tmp_path, 3) == []
    write(tmp_path, ["a", "b"], files=1)
    path = tmp_path / "00000.jsonl.zst"
    path.write_bytes(path.read_bytes()[:-6])

    with pytest.raises(FormatError, match="00000"):
        sample(tmp_path, 3)
