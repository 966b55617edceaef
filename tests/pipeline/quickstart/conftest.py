"""A small package with every bad habit, and the site rendered from it."""

import os
import shutil
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from pipeline.quickstart.site.build import SiteSummary, render_site

MODULES = {
    "__init__.py": '''
        """A package with habits.

        It has notes in file:///var/notes.txt and at http://elsewhere.example/page.
        Everything starts with `zoo.animals.Cat`; repr gives <zoo.Cat object at 0x7f00deadbeef>.
        """
        from zoo.animals import Cat
        __all__ = ["Cat", "feed"]
        def feed(animal, where="/home/somebody/bowl"):
            """Feed an animal such as zoo.animals.Cat.

            See Also
            --------
            pet : The other thing to do.
            """
        ''',
    "animals.py": '''
        """Animals."""
        class Animal:
            """Anything that moves."""
            def move(self) -> "Animal":
                """Move somewhere.

                >>> Animal().move() < 3
                """
            def __eq__(self, other):
                """Return self==value."""
            def silent(self): ...
        class Cat(Animal):
            """A cat is an `Animal`; it can purr() and `Animal.move`, unlike a `Dog`."""
            def move(self):
                """Move somewhere.

                >>> Animal().move() < 3
                """
        def pet(animal: Cat) -> None:
            """Pet it gently."""
        ''',
    "places.py": '"""Places."""\nimport sys\nfrom pathlib import Path\n'
    "def find(start=Path.home()): ...\n"
    'find.__doc__ = f"Look in {Path.home()}/data, {sys.prefix}/share and {__file__}"',
    "prints.py": '"""Prints."""\nprint("hello")',
    "raises.py": '"""Raises."""\nraise RuntimeError("no")',
    "leaves.py": '"""Ends."""\nimport sys\nsys.exit()',
    "writes.py": '"""Writes."""\nfrom pathlib import Path\nPath("mine.txt").write_text("x")',
    "starts.py": '"""Starts."""\nimport subprocess\ntry: subprocess.Popen(["true"])\nexcept Exception: pass',
    "browses.py": '"""Browses."""\nimport webbrowser\nwebbrowser.open("http://x.example/")',
    "empty.py": "x = 1",
    "draws.py": '"""Draws."""\nimport random\nNAME = "draw"\n'
    'def one():\n    pass\none.__doc__ = f"Drew {random.random()} and {random.SystemRandom().random()}."',
    "tests/__init__.py": '"""Tests."""',
}
HUGE = "\n".join(
    f'def f{number:04d}(x):\n    """Number {number}.\n\n    {"Words that fill a page. " * 40}"""'
    for number in range(600)
)


def _make_package(folder: Path, name: str, modules: Mapping[str, str], version: str = "1.0") -> None:
    for path, text in modules.items():
        target = folder / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(textwrap.dedent(text.strip("\n")))
    for old in folder.glob(f"{name}-*.dist-info"):
        shutil.rmtree(old)
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on the path of this process and its children with the packages `zoo` and `plain`."""
    folder = tmp_path_factory.mktemp("installed")
    _make_package(folder, "zoo", {**MODULES, "huge.py": f'"""Huge."""\n{HUGE}'})
    _make_package(folder, "plain", {"__init__.py": '"""Plain. Works with zoo.animals.Cat."""'})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield folder


@pytest.fixture(scope="session")
def site(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished site of both packages."""
    folder = tmp_path_factory.mktemp("web") / "site"
    render_site(folder, ["zoo", "plain"])
    return folder


@pytest.fixture(scope="session")
def summary(site: Path) -> SiteSummary:
    return render_site(site, ["zoo", "plain"])


@pytest.fixture
def make_package(installed: Path) -> Callable[[str, Mapping[str, str], str], None]:
    """Install (again) a package of this name, modules and version."""
    return lambda name, modules, version: _make_package(installed, name, modules, version)
