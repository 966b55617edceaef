"""Every kind of every folder of kinds says what it is and has a configuration (a form of fit needs none)."""

import importlib

import pytest

from pipeline.config import Kind
from pipeline.show import FOLDERS

KINDS = [(folder, name) for folder in FOLDERS.values() for name in Kind(folder).names()]


@pytest.mark.parametrize(("folder", "name"), KINDS)
def test_a_kind_has_a_purpose_and_a_config(folder: str, name: str) -> None:
    assert (importlib.import_module(f"{folder}.{name}").__doc__ or "").strip()
    assert folder == FOLDERS["forms"] or Kind(folder).config(name).__name__ == "Config"
