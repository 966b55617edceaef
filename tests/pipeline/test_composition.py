from pathlib import Path

import pytest

from pipeline.composition import compose
from pipeline.errors import ConfigError


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def problems(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as failure:
        compose(path, overrides)
    return str(failure.value)


def test_a_file_starts_from_another_and_its_own_keys_lie_on_top(tmp_path: Path) -> None:
    write(tmp_path, "optim/base.yaml", "lr: 1e-3\nbetas: [0.9, 0.95]\n")
    write(tmp_path, "train/base.yaml", "optim: {from: ../optim/base.yaml}\nseed: 1\n")
    path = write(tmp_path, "train/own.yaml", "from: base.yaml\noptim: {lr: 6e-4}\n")

    assert compose(path).value == {"optim": {"lr": 6e-4, "betas": [0.9, 0.95]}, "seed": 1}


def test_every_value_knows_the_file_and_line_it_came_from(tmp_path: Path) -> None:
    base = write(tmp_path, "base.yaml", "optim:\n  lr: 1\n  decay: 2\n")
    path = write(tmp_path, "own.yaml", "from: base.yaml\n\noptim:\n  lr: 3\n")

    composed = compose(path, ["optim.warmup=4"])

    assert composed.place(("optim", "lr")) == f"{path}:4"
    assert composed.place(("optim", "decay")) == f"{base}:3"
    assert composed.place(("optim", "warmup")) == "command line"


def test_the_command_line_lies_over_everything_and_reads_yaml(tmp_path: Path) -> None:
    path = write(tmp_path, "own.yaml", "engine: {kind: single, threads: 1}\n")

    composed = compose(path, ["engine={kind: deepspeed, zero_stage: 2}", "names=[a, b]", "lr=6e-4", "empty="])

    assert composed.value == {
        "engine": {"kind": "deepspeed", "zero_stage": 2},
        "names": ["a", "b"],
        "lr": 6e-4,
        "empty": "",
    }


def test_another_kind_replaces_the_whole_mapping(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "engine: {kind: single, threads: 1}\n")
    path = write(tmp_path, "own.yaml", "from: base.yaml\nengine: {kind: deepspeed}\n")

    assert compose(path).value == {"engine": {"kind": "deepspeed"}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("6e-4", 6e-4), ("1E5", 1e5), ("-2e3", -2e3), ("1.5e-3", 1.5e-3), ("no", False), ("e5", "e5")],
)
def test_numbers_with_exponents_are_numbers(tmp_path: Path, text: str, expected: object) -> None:
    assert compose(write(tmp_path, "x.yaml", f"v: {text}\n")).value["v"] == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "x.yaml:3: key 'a' is given twice"),
        ("a: 1\n b: 2\n", "x.yaml:2: not valid YAML"),
        ("a: 1\nb: \0\n", "x.yaml:2: not valid YAML: a control character"),
        ("a: &n 1\nb: *n\n", "x.yaml:2: aliases"),
        ("- 1\n", "x.yaml:1: expected a mapping"),
        ("1: a\n", "x.yaml:1: key 1 must be text"),
        ("a: !!python/object:os.system 1\n", "x.yaml:1: not valid YAML"),
        ("a: " + "[" * 40 + "]" * 40 + "\n", "nested deeper than"),
        ("from: x.yaml\n", "starts from itself"),
        ("from: [a, b]\n", "expected the path of one YAML file"),
    ],
)
def test_a_fault_in_a_file_names_its_place(tmp_path: Path, text: str, said: str) -> None:
    assert said in problems(write(tmp_path, "x.yaml", text))


def test_a_missing_file_suggests_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "gpt2-117m.yaml", "a: 1\n")

    assert "did you mean" in problems(tmp_path / "gpt2-117.yaml")


def test_all_faulty_overrides_are_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "x.yaml", "a: 1\n")

    said = problems(path, "no_equals", "b=[1", "c..d=1")

    assert "'no_equals': expected key=value" in said
    assert "b: " in said
    assert "'c..d=1'" in said


def test_a_bare_name_picks_the_mapping_of_its_kind_from_the_list_below(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "paper.yaml",
        "tasks:\n- kind: lambada\n  stride: 3\n- kind: ptb\n  text: original\n- text8\n",
    )

    composed = compose(path, ["tasks=[ptb, text8, {kind: lambada, limit: 2}, winograd]"])

    assert composed.value["tasks"] == [
        {"kind": "ptb", "text": "original"},
        "text8",
        {"kind": "lambada", "limit": 2},
        "winograd",
    ]
    assert composed.place(("tasks", 0, "text")) == f"{path}:5"
    assert composed.place(("tasks", 3)) == "command line"


def test_a_list_of_values_is_replaced_whole(tmp_path: Path) -> None:
    path = write(tmp_path, "own.yaml", "betas: [0.9, 0.95]\nnames: [a, {b: 1}]\n")

    assert compose(path, ["betas=[0.8]", "names=[b]"]).value == {"betas": [0.8], "names": ["b"]}
