"""What the answers of all nodes say together; the whole of `doctor --on` is in tests/drills/test_start.py."""

from typing import Any

from pipeline.doctor import MISSING, OK, OPTIONAL, Finding, healthy, told
from pipeline.nodes import together


def answers(**changed: Any) -> list[dict[str, Any]]:
    """Return what two healthy ranks tell, the second with changes."""
    one = {
        "node": "node-0",
        "versions": {"torch": "2", "code": "ab"},
        "clock": 100.0,
        "local": [],
        "unseen": [],
        "reduced_seconds": 0.01,
    }
    return [{**one, "rank": 0}, {**one, "rank": 1, "node": "node-1", **changed}]


def missing(**changed: Any) -> list[Finding]:
    return [finding for finding in together(answers(**changed)) if finding.status == MISSING]


def test_nodes_that_agree_are_healthy() -> None:
    findings = together(answers())

    assert {finding.status for finding in findings} == {OK}
    assert findings[0].found == "2 processes on 2: node-0, node-1"
    assert healthy(findings)


def test_each_thing_that_differs_is_told_with_the_ranks_that_have_it() -> None:
    (found,) = missing(versions={"torch": "1", "code": "ab"})

    assert (found.name, found.found) == ("same torch", "2 on rank 0 (node-0); 1 on rank 1 (node-1)")
    assert "install the same" in found.remedy
    assert not healthy([found])


def test_clocks_that_are_apart_are_told_with_the_one_that_is_ahead() -> None:
    (found,) = missing(clock=107.5)

    assert found.found == "7.5 s apart" and "node-1 is ahead of node-0" in found.remedy


def test_a_directory_that_is_not_shared_is_told() -> None:
    (found,) = missing(unseen=[0])

    assert found.found == "rank 1 on node-1 does not see the file of rank 0"


def test_a_sum_that_is_wrong_is_told() -> None:
    (found,) = missing(reduced_seconds=None)

    assert found.found == "wrong on rank 1 (node-1)"


def test_what_a_node_lacks_by_itself_is_told_once_with_its_name() -> None:
    lacks = {
        "name": "write and rename",
        "status": MISSING,
        "found": "read-only",
        "remedy": "make it writable",
    }
    of_no_matter = {"name": "wandb key", "status": OPTIONAL, "found": "none", "remedy": "wandb login"}
    (found,) = missing(local=[lacks, of_no_matter])

    assert told([found]).splitlines() == [
        f"missing  {'write and rename on node-1':<18}read-only",
        f"{'':<27}-> make it writable",
    ]
