"""Every shipped YAML loads against the schema of its folder."""

import importlib
from pathlib import Path
from typing import Annotated, Any

import pytest

from model.config import GPTConfig
from pipeline.composition import Composed, compose
from pipeline.config import Kind, Plain, Schema, execution, load, validated
from pipeline.data.execute import ExecuteConfig

CONFIGS = Path(__file__).parents[2] / "configs"
STAGES = ("data", "train", "evaluate", "finetune", "study")


class Model(Schema):
    value: Annotated[GPTConfig, Plain(GPTConfig)] = execution()


class Engine(Schema):
    value: Annotated[Any, Kind("pipeline.trainer.engines")] = execution()


class Launch(Schema):
    value: Annotated[Any, Kind("launch.launchers")] = execution()


class Tasks(Schema):
    value: ExecuteConfig = execution()


def of_launch(path: str) -> type[Schema]:
    """Return the schema of a file of configs/launch: where a job runs, or where the tasks of a dataset do."""
    return Tasks if "executor" in compose(CONFIGS / path).value else Launch


def files(*folders: str) -> list[str]:
    return sorted(
        str(file.relative_to(CONFIGS)) for folder in folders for file in (CONFIGS / folder).glob("*.yaml")
    )


@pytest.mark.parametrize("name", files(*STAGES))
def test_a_stage_configuration_loads(name: str) -> None:
    stage = importlib.import_module(f"pipeline.{Path(name).parts[0]}.stage")

    load(stage.Config, CONFIGS / name)


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        *((Model, name) for name in files("model")),
        *((Engine, name) for name in files("engine")),
        *((of_launch(name), name) for name in files("launch")),
    ],
)
def test_a_part_loads(schema: type[Schema], name: str) -> None:
    validated(schema, Composed({"value": compose(CONFIGS / name).value}, {(): name}))


def test_no_shipped_file_is_left_untested() -> None:
    tested = {*STAGES, "model", "engine", "launch", "optim"}

    assert {folder.name for folder in CONFIGS.iterdir() if folder.is_dir()} == tested


@pytest.mark.parametrize("name", files("optim"))
def test_an_optimizer_is_used_by_a_training_configuration(name: str) -> None:
    users = [file for file in (CONFIGS / "train").glob("*.yaml") if f"../{name}" in file.read_text()]

    assert users, f"{name}: nothing starts from it"
