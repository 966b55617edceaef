from pathlib import Path

import pytest

from launch import hostfile

HOSTS = {"a": 4, "b": 2, "c": 1}


def test_hosts_keep_their_order_and_comments_are_passed_over() -> None:
    text = "# our nodes\nnode-1 slots=8\n\n  node-0   slots=4  # the slow one\n"

    assert list(hostfile.parse(text, "hosts").items()) == [("node-1", 8), ("node-0", 4)]


def test_every_fault_is_told_with_its_line() -> None:
    text = "a slots=2\nb\nc slots=0\na slots=4\nd slots=two\n"

    with pytest.raises(ValueError) as told:
        hostfile.parse(text, "hosts")

    assert str(told.value).splitlines() == [
        "hosts:2: 'b' is not HOST slots=N (node-0 slots=8)",
        "hosts:3: c has no slots; give it some or remove the line",
        "hosts:4: a stands here twice; give it one line with all slots",
        "hosts:5: 'd slots=two' is not HOST slots=N (node-0 slots=8)",
    ]


@pytest.mark.parametrize("text", ["", "# nobody\n\n"])
def test_a_hostfile_without_hosts_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="hosts: no host; write a line HOST slots=N"):
        hostfile.parse(text, "hosts")


def test_a_missing_hostfile_is_told_with_what_belongs_in_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nobody: No such file or directory; a hostfile has a line HOST"):
        hostfile.read(tmp_path / "nobody")


@pytest.mark.parametrize(
    ("include", "exclude", "slots"),
    [
        ((), (), {"a": [0, 1, 2, 3], "b": [0, 1], "c": [0]}),
        (("b", "a:3,0"), (), {"a": [0, 3], "b": [0, 1]}),
        ((), ("a:1", "b"), {"a": [0, 2, 3], "c": [0]}),
    ],
)
def test_slots_are_chosen_by_what_is_in_or_what_is_out(
    include: tuple[str, ...], exclude: tuple[str, ...], slots: dict[str, list[int]]
) -> None:
    assert hostfile.selected(HOSTS, include, exclude) == slots


@pytest.mark.parametrize(
    ("include", "exclude", "message"),
    [
        (("a",), ("b",), "include and exclude cannot both be given"),
        (("z",), (), "include: z is not in the hostfile; it has a, b, c"),
        ((), ("b:2",), "exclude: b:2: b has slots 0 to 1"),
        (("a:",), (), "include: 'a:' is not HOST or HOST:0,2"),
        ((), ("a", "b", "c"), "exclude: a, b, c leaves no slot"),
    ],
)
def test_a_choice_of_what_is_not_there_is_refused(
    include: tuple[str, ...], exclude: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        hostfile.selected(HOSTS, include, exclude)
