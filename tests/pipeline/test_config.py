from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest

from pipeline.config import (
    Kind,
    Plain,
    Schema,
    differences,
    dump,
    execution,
    identity,
    identity_hash,
    identity_of,
    kind_name,
    load,
    validate,
)
from pipeline.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Shape:
    n_layer: int
    n_embd: int = 64
    n_head: int = 4

    def __post_init__(self) -> None:
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd ({self.n_embd}) must be a multiple of n_head ({self.n_head})")


class Optim(Schema):
    lr: float = identity(1e-3, gt=0)
    betas: tuple[float, float] = identity((0.9, 0.95))
    fused: bool = execution(True)


class Config(Schema):
    out: Path = execution()
    model: Annotated[Shape, Plain(Shape)] = identity()
    optim: Optim = identity(Optim())
    launcher: Annotated[Any, Kind("launch.launchers")] = execution(None)
    arms: list[Optim] = identity([])


def loaded(tmp_path: Path, text: str, *overrides: str) -> Config:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    return load(Config, path, overrides)


def problems(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as failure:
        loaded(tmp_path, text, *overrides)
    return [problem.replace(str(tmp_path), "") for problem in failure.value.problems]


GOOD = "out: runs/x\nmodel: {n_layer: 2}\nlauncher: {kind: local}\n"


def test_every_fault_is_told_at_once_with_its_place_and_a_suggestion(tmp_path: Path) -> None:
    text = (
        "outs: x\nmodel:\n  n_layers: 2\n  n_embd: wide\noptim:\n  lrr: 1\n  betas: [1]\narms:\n- {lr: -1}\n"
    )

    told = problems(tmp_path, text, "optim.lr=fast")

    assert "/x.yaml:1: outs: unknown key (did you mean out?)" in told
    assert "/x.yaml:3: model.n_layers: unknown key (did you mean n_layer?)" in told
    assert any(line.startswith("/x.yaml:4: model.n_embd:") and "'wide'" in line for line in told)
    assert "/x.yaml:6: optim.lrr: unknown key (did you mean lr?)" in told
    assert any(line.startswith("/x.yaml:7: optim.betas") for line in told)
    assert any(line.startswith("/x.yaml:9: arms.0.lr:") for line in told)
    assert any(line.startswith("command line: optim.lr:") and "'fast'" in line for line in told)
    assert any(line.startswith("/x.yaml:1: out: missing") for line in told)


def test_a_rule_between_two_fields_names_the_section(tmp_path: Path) -> None:
    told = problems(tmp_path, GOOD, "model.n_head=3")

    assert told == ["/x.yaml:2: model: n_embd (64) must be a multiple of n_head (3)"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("launcher.kind=locl", "did you mean local?"),
        ("launcher=local", "expected a mapping with kind"),
        ("launcher.thread=2", "launcher.thread: unknown key (did you mean threads?)"),
        ("launcher={kind: torchrun, processes: 0}", "processes (0) must be at least 1"),
    ],
)
def test_a_choice_is_checked_against_its_folder_and_its_own_keys(
    tmp_path: Path, override: str, said: str
) -> None:
    assert said in "\n".join(problems(tmp_path, GOOD, override))


def test_not_a_number_is_refused(tmp_path: Path) -> None:
    assert "optim.lr" in problems(tmp_path, GOOD, "optim.lr=.nan")[0]


def test_a_dumped_configuration_loads_to_an_equal_one(tmp_path: Path) -> None:
    config = loaded(tmp_path, GOOD, "optim.lr=6e-5", "arms=[{lr: 1e-8}]")

    assert loaded(tmp_path, dump(config)) == config


def test_identity_leaves_out_what_decides_only_how(tmp_path: Path) -> None:
    config = loaded(tmp_path, GOOD)

    assert identity_of(config) == {
        "model": {"n_layer": 2, "n_embd": 64, "n_head": 4},
        "optim": {"lr": 1e-3, "betas": [0.9, 0.95]},
        "arms": [],
    }


def test_the_hash_follows_identity_alone(tmp_path: Path) -> None:
    base = identity_hash(loaded(tmp_path, GOOD))

    assert identity_hash(loaded(tmp_path, GOOD, "out=elsewhere", "optim.fused=false")) == base
    assert identity_hash(loaded(tmp_path, GOOD, "optim.lr=2e-3")) != base
    assert identity_hash(loaded(tmp_path, GOOD), manifest="1") != base


def test_differences_name_key_old_and_new() -> None:
    old = {"optim": {"lr": 1, "betas": [1, 2]}, "seed": 0}

    assert differences(old, {"optim": {"lr": 2, "betas": [1, 2]}}) == ["optim.lr: 1 -> 2", "seed: 0 -> None"]


def test_a_chosen_config_knows_its_kind(tmp_path: Path) -> None:
    assert kind_name(loaded(tmp_path, GOOD).launcher) == "local"


def test_a_mapping_in_memory_is_validated_with_a_name_for_its_faults() -> None:
    with pytest.raises(ConfigError, match=r"rung d64: model\.n_layer: missing"):
        validate(Config, {"out": "x", "model": {}}, "rung d64")
