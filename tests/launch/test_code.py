"""The code that a job runs is the code of its submission: the zip, and real jobs that start from it."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from launch.code import PACKAGES, Code
from launch.launcher import Job
from launch.launchers import deepspeed
from tests.pipeline.train.conftest import dataset, values  # noqa: F401 - fixtures

ROOT = Path(__file__).parents[2]
PACK = "import pathlib, sys; from launch.code import Code; print(Code.here().pack(pathlib.Path(sys.argv[1])))"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A folder with a copy of our packages, to edit."""
    folder = tmp_path / "source"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def python(*words: str, at: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, whose packages are thus the first on its path."""
    environment = {**os.environ, **variables}
    return subprocess.run([sys.executable, *words], cwd=at, env=environment, capture_output=True, text=True)


def on_path(directory: Path) -> dict[str, str]:
    """Pack our code and return the variables by which a process runs from the zip."""
    code = Code.here()
    code.pack(directory)
    return code.variables(directory, {})


def packed(source: Path, directory: Path) -> Path:
    return Path(python("-c", PACK, str(directory), at=source).stdout.strip())


def test_the_zip_has_every_file_of_our_packages_that_git_knows(tmp_path: Path) -> None:
    known = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    if not known:
        pytest.skip("not a clone")

    names = zipfile.ZipFile(Code.here().pack(tmp_path)).namelist()

    assert set(known) - {name for name in known if not (ROOT / name).exists()} <= set(names)
    assert names == sorted(names)
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_same_files_make_the_same_zip_byte_for_byte_and_it_is_named_by_their_hash(
    copied: Path, tmp_path: Path
) -> None:
    first = packed(copied, tmp_path / "a")
    os.utime(copied / "launch" / "rank.py")  # a later time, the same content
    (copied / "launch" / "__pycache__").mkdir(exist_ok=True)
    second = packed(copied, tmp_path / "b")
    with (copied / "launch" / "rank.py").open("a") as file:
        file.write("# edited\n")
    third = packed(copied, tmp_path / "b")

    assert first.parent == tmp_path / "a" / "code"
    assert first.name == second.name and first.read_bytes() == second.read_bytes()
    assert third.name != second.name
    assert sorted(third.parent.iterdir()) == sorted([second, third])


def test_a_zip_that_is_there_is_taken_as_it_is(tmp_path: Path) -> None:
    first = Code.here().pack(tmp_path)
    before = first.stat().st_mtime_ns

    assert Code.here().pack(tmp_path) == first
    assert first.stat().st_mtime_ns == before


def test_what_cannot_be_written_whole_does_not_appear(small_disk, copied: Path) -> None:  # type: ignore[no-untyped-def]
    disk = small_disk(200)

    with pytest.raises(OSError, match="No space left"):
        Code.here().pack(disk)
    assert list((disk / "code").iterdir()) == []


def test_code_that_runs_from_a_zip_packs_the_same_zip(copied: Path, tmp_path: Path) -> None:
    archive = packed(copied, tmp_path / "a")

    again = python(
        "-c", PACK, str(tmp_path / "b"), at=tmp_path, PYTHONPATH=str(archive), PYTHONSAFEPATH="1"
    ).stdout.strip()

    assert Path(again).name == archive.name
    assert Path(again).read_bytes() == archive.read_bytes()


def test_the_zip_comes_before_what_is_on_the_path_already() -> None:
    code = Code({"launch/__init__.py": b""})
    first = str(code.path(Path("runs/x")))

    assert Path(first).is_absolute()
    assert code.variables(Path("runs/x"), {}) == {"PYTHONPATH": first, "PYTHONSAFEPATH": "1"}
    both = code.variables(Path("runs/x"), {"PYTHONPATH": f"/opt/site:{first}:"})
    assert both["PYTHONPATH"] == f"{first}:/opt/site"


def test_commands_say_the_same_from_the_zip(tmp_path: Path) -> None:
    there = python("-m", "pipeline", "ls", "filters", at=tmp_path, **on_path(tmp_path))

    assert there.returncode == 0, there.stderr
    assert there.stdout == python("-m", "pipeline", "ls", "filters", at=ROOT).stdout


def test_a_report_takes_its_templates_from_the_zip(tmp_path: Path) -> None:
    words = "from pipeline.report import page; print(page.__file__, page._templates().list_templates())"

    told = python("-c", words, at=tmp_path, **on_path(tmp_path)).stdout

    assert told.startswith(str(tmp_path / "code"))
    for path in (ROOT / "pipeline" / "report" / "templates").iterdir():
        assert f"'{path.name}'" in told


def test_deepspeed_carries_the_path_to_other_nodes(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("node-0 slots=1\nnode-1 slots=1\n")
    variables = Code.here().variables(tmp_path, {})
    job = Job(name="train", argv=("train",), directory=tmp_path, environment=variables)

    script = deepspeed.Config(hostfile=str(tmp_path / "hosts")).build().script(job)

    # In the file that DeepSpeed exports from last, over the path that it makes itself.
    carried = script.partition("\nEND\n")[0].splitlines()
    assert f"PYTHONPATH={variables['PYTHONPATH']}" in carried
    assert "PYTHONSAFEPATH=1" in carried


def cluster(folder: Path) -> str:
    """Make a queue that takes a job and starts nothing: commands of Slurm's for the front of PATH."""
    for name, says in {"sbatch": "echo 17", "squeue": "true"}.items():
        command = folder / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(f"#!/bin/sh\n{says}\n")
        command.chmod(0o755)
    return f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"


def test_a_job_runs_the_code_of_its_submission_and_the_next_submission_takes_the_edited_one(
    copied: Path,
    tmp_path: Path,
    values: dict,  # type: ignore[type-arg] # noqa: F811
) -> None:
    run, path = tmp_path / "run", cluster(tmp_path)
    (copied / "train.yaml").write_text(yaml.safe_dump(values))
    (copied / "slurm.yaml").write_text("kind: slurm\n")
    submit = ("-m", "pipeline", "train", "train.yaml", "--on", "slurm.yaml")
    start = ["bash", str(run / "logs" / "train" / "job.sh")]
    environment = {**os.environ, "SLURM_JOB_ID": "17"}

    first = python(*submit, at=copied, PATH=path)
    assert first.returncode == 0, first.stderr
    with (copied / "pipeline" / "__init__.py").open("a") as file:
        file.write("print('edited')\n")
    old = subprocess.run(start, cwd=copied, env=environment, capture_output=True, text=True)

    zips = set(run.glob("code/*.zip"))
    attempt = json.loads((run / "attempts" / "000.json").read_text())
    assert (old.returncode, "edited" in old.stdout) == (0, False), old.stderr
    assert {path.stem for path in zips} == {attempt["code_hash"]}

    python(*submit, at=copied, PATH=path)
    new = subprocess.run(start, cwd=copied, env=environment, capture_output=True, text=True)

    assert new.returncode == 0 and "edited" in new.stdout
    assert zips < set(run.glob("code/*.zip"))
