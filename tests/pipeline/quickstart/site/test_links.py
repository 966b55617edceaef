import pytest

from pipeline.quickstart.site.links import Context, Linker
from pipeline.quickstart.site.names import names_of
from pipeline.quickstart.site.pieces import Module, Piece


def piece(name: str, kind: str = "function", home: str = "", **more: list) -> Piece:
    return Piece(name=name, kind=kind, signature="()", doc=f"About {name}.", home=home or name, **more)


def module(name: str, *pieces: Piece) -> Module:
    return Module(name=name, is_package=True, doc="", scope={}, pieces=list(pieces))


@pytest.fixture
def linker() -> Linker:
    base = piece("lib._base.Base", "class", members=[piece("lib._base.Base.move", "method")])
    car = piece("lib.Car", "class", bases=["lib._base.Base"], silent=["honk"])
    modules = [
        module("lib._base", base, piece("lib._base.drive")),
        module("lib", car, piece("lib.drive", home="lib._base.drive"), piece("lib.method")),
        module("builtins", piece("builtins.int", "class")),
    ]
    names = names_of(modules)
    names.modules.update({"lib": "lib/lib.html", "builtins": "std/builtins.html"})
    for known in (
        "lib._base.Base",
        "lib._base.Base.move",
        "lib.Car",
        "lib.drive",
        "lib.method",
        "builtins.int",
    ):
        names.paths[known] = f"std/{known}.html" if known.startswith("builtins") else f"lib/{known}.html"
    return Linker(names, "lib/here.html")


HERE = Context("lib.here", "lib.here.Here", {"vehicle": "lib.Car", "l": "lib"})


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("lib.Car", "lib.Car.html#lib.Car"),
        ("call drive() now", "lib.drive.html#lib.drive"),
        ("see `vehicle`", "lib.Car.html#lib.Car"),
        ("l.drive", "lib.drive.html#lib.drive"),
        ("lib._base.drive", "lib.drive.html#lib.drive"),
        ("`Car.move`", "lib._base.Base.move.html#lib._base.Base.move"),
        ("`Car.honk`", "lib.Car.html#lib.Car"),
        (":meth:`~lib.Car.move`", "lib._base.Base.move.html#lib._base.Base.move"),
        (":class:`the car <lib.Car>`", "lib.Car.html#lib.Car"),
        ("``int``", "../std/builtins.int.html#builtins.int"),
        (":mod:`lib`", "lib.html"),
        ("`lib`", None),
        ("lib.nothing", None),
        ("we drive an int by some method", None),
        ("http://lib.example/lib.Car", None),
    ],
)
def test_a_name_in_a_text_links_to_what_it_means_there(linker: Linker, written: str, target: str | None):
    found = linker.text(written, HERE)

    assert (f'href="{target}"' in found) if target else "href" not in found


def test_parameters_are_no_links_but_their_annotations_are(linker: Linker):
    found = linker.signature("(method: int = 3, drive=None) -> Car", HERE)

    assert found.count("<a ") == 2
    assert ">int</a>" in found
    assert ">Car</a>" in found


def test_a_word_that_is_no_link_in_a_type_is_one_between_backticks(linker: Linker):
    assert linker.type("drive, or `drive`", HERE).startswith("drive, or <code><a ")


def test_every_name_of_a_list_of_references_is_a_link(linker: Linker):
    assert linker.names("drive, method, :func:`Car`", HERE).count("<a ") == 3


def test_a_target_is_linked_once_and_never_on_its_own_page(linker: Linker):
    assert linker.text("lib.Car and lib.Car", HERE).count("<a ") == 1
    assert linker.targets == {"lib/lib.Car.html"}


def test_what_looks_like_markup_is_text(linker: Linker):
    assert linker.text("<b> & `<i>`", HERE) == "&lt;b&gt; &amp; <code>&lt;i&gt;</code>"
