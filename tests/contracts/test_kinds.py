"""Every kind of every folder of kinds says what it is and has a configuration."""

import pytest

from pipeline.config import Kind
from pipeline.show import FOLDERS

KINDS = [(folder, name) for folder in FOLDERS.values() for name in Kind(folder).names()]


@pytest.mark.parametrize(("folder", "name"), KINDS)
def test_a_kind_has_a_purpose_and_a_config(folder: str, name: str) -> None:
    config = Kind(folder).config(name)

    assert config.__name__ == "Config"
    assert __import__(f"{folder}.{name}", fromlist=["x"]).__doc__
