from pathlib import Path

import pytest

from pipeline import show
from pipeline.config import load
from pipeline.errors import ConfigError
from pipeline.train.stage import Config

ROOT = Path(__file__).parents[2]


def test_every_value_is_shown_with_the_place_that_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    path = Path("configs/train/gpt2-117m.yaml")

    lines = show.provenance(load(Config, path, ["seed=3"]), path, ["seed=3"]).splitlines()

    assert any(
        line.startswith("model.n_embd: 768 ") and "configs/model/gpt2-117m.yaml:" in line for line in lines
    )
    assert any(line.startswith("seed: 3 ") and line.endswith("command line") for line in lines)
    assert any(
        line.startswith("optim.lr: ") and "  # paper (GPT-3, table 2.1: 125M)" in line for line in lines
    )
    assert any(line.endswith("default") for line in lines)


@pytest.mark.parametrize(
    ("what", "name"), [("filters", "language"), ("engines", "deepspeed"), ("models", "gpt2-117m")]
)
def test_choices_are_listed_with_their_purpose(what: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    line = next(line for line in show.choices(what).splitlines() if line.split()[0] == name)

    assert len(line.split()) > 2


def test_an_unknown_list_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"did you mean filters\?"):
        show.choices("filter")


def test_a_directory_of_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no dataset, run or study"):
        show.status(tmp_path)
    with pytest.raises(ConfigError, match="no such directory"):
        show.status(tmp_path / "missing")
