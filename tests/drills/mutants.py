"""Mistakes in YAML files, one in each mutant, and what a message must say of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

FREE = (
    "sbatch_args",
    "hosts",
    "fields",
    "environment",
    "node_selector",
    "resources",
    "env",
    "secrets",
)  # any key may be in these
SIGNED = ("exponent", "min_karma", "transferred_layers")  # numbers that may be below zero


@dataclass(frozen=True)
class Leaf:
    """A key of a file with its value, where they stand, and what leads to it."""

    path: tuple[str, ...]
    key: yaml.ScalarNode
    value: yaml.Node

    @property
    def line(self) -> int:
        return self.key.start_mark.line + 1

    @property
    def is_number(self) -> bool:
        return self.value.tag.endswith((":int", ":float"))


@dataclass(frozen=True)
class Mutant:
    """A file's text with a mistake; the message must name the line (0: the file alone) and have the words."""

    text: str | bytes
    line: int
    words: tuple[str, ...]


def leaves(node: yaml.Node | None, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Yield all keys of a file, those of sections too."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, key.value)
            yield Leaf(here, key, value)
            yield from leaves(value, here)
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from leaves(item, (*path, str(number)))


def replaced(text: str, node: yaml.Node, by: str) -> str:
    return text[: node.start_mark.index] + by + text[node.end_mark.index :]


def misspelt(text: str, leaf: Leaf, rng: random.Random) -> Mutant:
    name = leaf.key.value
    at = rng.randrange(1, len(name) + 1)
    wrong = (
        name[:at] + rng.choice((name[at - 1], "")) + name[at:] if rng.random() < 0.5 else f"{name}{name[-1]}"
    )
    wrong = wrong if wrong != name else f"{name}x"
    return Mutant(replaced(text, leaf.key, wrong), leaf.line, (wrong,))


def unknown(text: str, leaf: Leaf, rng: random.Random) -> Mutant:
    indented = " " * leaf.key.start_mark.column
    lines = text.splitlines(keepends=True)
    if "{" in lines[leaf.line - 1] or lines[leaf.line - 1].lstrip().startswith("- "):
        return Mutant(f"{text.rstrip()}\nqwertz: 1\n", len(text.rstrip().splitlines()) + 1, ("qwertz",))
    lines.insert(leaf.line - 1, f"{indented}qwertz: 1\n")
    return Mutant("".join(lines), leaf.line, ("qwertz",))


def twice(text: str, leaf: Leaf, rng: random.Random) -> Mutant:
    again = (
        text[leaf.key.start_mark.index : leaf.value.end_mark.index]
        if "\n" not in text[leaf.key.start_mark.index : leaf.value.end_mark.index]
        else f"{leaf.key.value}: 1"
    )
    lines = text.splitlines(keepends=True)
    if "{" in lines[leaf.line - 1] or lines[leaf.line - 1].lstrip().startswith("- "):
        first = yaml.compose(text).value[0][0].value
        return Mutant(f"{text.rstrip()}\n{first}: 1\n", len(text.rstrip().splitlines()) + 1, (first, "twice"))
    lines.insert(leaf.line - 1, f"{' ' * leaf.key.start_mark.column}{again}\n")
    return Mutant("".join(lines), leaf.line + 1, (leaf.key.value, "twice"))


def another_type(text: str, leaf: Leaf, rng: random.Random) -> Mutant:
    wrong = (
        rng.choice(("{a: 1}", "[{b: 2}]"))
        if not leaf.is_number
        else rng.choice(("many", "{a: 1}", "[1, 2]", "1;5"))
    )
    return Mutant(replaced(text, leaf.value, wrong), leaf.line, (leaf.key.value,))


def out_of_range(text: str, leaf: Leaf, rng: random.Random) -> Mutant:
    wrong = rng.choice(("-1", "-7", "-0.5"))
    return Mutant(replaced(text, leaf.value, wrong), leaf.line, (leaf.key.value, wrong))


def not_finite(text: str, leaf: Leaf, rng: random.Random) -> Mutant:
    return Mutant(
        replaced(text, leaf.value, rng.choice((".nan", ".inf", "-.inf"))), leaf.line, (leaf.key.value,)
    )


def yes_for_a_number(text: str, leaf: Leaf, rng: random.Random) -> Mutant:
    return Mutant(replaced(text, leaf.value, rng.choice(("yes", "true", "no"))), leaf.line, (leaf.key.value,))


OF_A_KEY: dict[str, Callable[[str, Leaf, random.Random], Mutant]] = {
    "misspelt key": misspelt,
    "unknown key": unknown,
    "key given twice": twice,
    "another type": another_type,
    "out of range": out_of_range,
    "not finite": not_finite,
    "yes for a number": yes_for_a_number,
}


def of_a_file(text: str, name: str, rng: random.Random) -> dict[str, Mutant]:
    """Return the mistakes that concern a file called `name` as a whole."""
    wrong_from = "from: ../train/gpt2-117mm.yaml\n"
    rest = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("from:"))
    no_yaml, no_mapping = ("not valid YAML",), ("expected a mapping",)
    return {
        "tab": Mutant(f"\tx: 1\n{text}", 1, no_yaml),
        "empty": Mutant(rng.choice(("", "\n", "# nothing\n", "{}", "null")), 0, ()),
        "not UTF-8": Mutant(b"\xff\xfe" + text.encode(), 0, ("cannot be read as text",)),
        "NUL": Mutant(f"{text}\0", 0, no_yaml),
        "list": Mutant("- a\n- b\n", 1, no_mapping),
        "text": Mutant("just text\n", 1, no_mapping),
        "open bracket": Mutant(f"{text.rstrip()}\nzz: [1, 2\n", 0, no_yaml),
        "conflict": Mutant(f"<<<<<<< mine\n{text}=======\n>>>>>>> theirs\n", 0, no_yaml),
        "alias": Mutant(f"a: &a [1]\nb: *a\n{text}", 2, ("aliases",)),
        "wrong from": Mutant(wrong_from + rest, 1, ("gpt2-117mm.yaml: no such file",)),
        "from itself": Mutant(f"from: {name}\n", 0, ("starts from itself",)),
    }


# A list of domains is no configuration: it may be empty, and say as little as it likes.
OF_CONFIGURATIONS = ("empty",)


def mutation(text: str, path: Path, rng: random.Random) -> tuple[str, Mutant]:
    """Return a mistake that this file can have, and its name."""
    in_list = "blocklists" in path.parts
    found = [leaf for leaf in leaves(yaml.compose(text)) if not set(leaf.path[:-1]) & set(FREE)]
    if rng.random() < 0.15 or not found:
        mistakes = of_a_file(text, path.name, rng)
        what = rng.choice([kind for kind in mistakes if not (in_list and kind in OF_CONFIGURATIONS)])
        return what, mistakes[what]
    what = rng.choice(list(OF_A_KEY))
    if what in ("out of range", "not finite", "yes for a number"):
        found = [leaf for leaf in found if leaf.is_number and leaf.key.value not in SIGNED]
    if what == "another type":
        found = [
            leaf
            for leaf in found
            if isinstance(leaf.value, yaml.ScalarNode) and not leaf.value.tag.endswith("null")
        ]
    if what == "misspelt key":
        found = [leaf for leaf in found if leaf.key.value not in FREE]
    return (what, OF_A_KEY[what](text, rng.choice(found), rng)) if found else mutation(text, path, rng)
