"""What can be said of the image without building it."""

import re
import shlex
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions with what follows them, lines that are continued joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def copied() -> list[str]:
    return [source for word, rest in instructions() if word == "COPY" for source in shlex.split(rest)[:-1]]


def project() -> dict:  # type: ignore[type-arg]
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


def test_every_file_that_is_copied_exists_and_reaches_the_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert [source for source in copied() if not (ROOT / source).exists()] == []
    assert set(copied()) == sent
    assert {"model", "launch", "pipeline", project()["readme"]} <= sent


def test_it_installs_what_was_tested_in_a_python_that_is_supported() -> None:
    (base,) = [rest for word, rest in instructions() if word == "FROM"]
    version = re.fullmatch(r"python:3\.(\d+)-slim", base)
    assert version is not None
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project()["requires-python"]).groups()  # type: ignore[union-attr]

    (install,) = [rest for word, rest in instructions() if word == "RUN" and "pip install" in rest]

    assert int(low) <= int(version[1]) < int(high)
    assert "-c constraints.txt" in install and install.endswith(" .")
    assert any(word == "RUN" and " g++ " in rest for word, rest in instructions())


def test_it_does_not_run_as_root_and_holds_no_secret() -> None:
    words = [word for word, _ in instructions()]
    (user,) = [rest for word, rest in instructions() if word == "USER"]

    assert user.isdigit() and user != "0"  # a cluster can only check a number
    assert words[-1] == "USER"
    assert not re.search(r"KEY|TOKEN|SECRET|PASSW", (ROOT / "Dockerfile").read_text())
