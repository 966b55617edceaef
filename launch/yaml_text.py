"""Plain values as YAML, for people to read and programs to take: block style, keys in their order."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

# Text that no version of YAML takes for anything else; all other text is quoted.
_PLAIN = re.compile(r"[A-Za-z/][\w./-]*", re.ASCII)
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})

Value = str | int | bool | None | Mapping[str, "Value"] | Sequence["Value"]


def documents(values: Sequence[Value]) -> str:
    """Return several values as one file of YAML documents."""
    return "---\n".join(document(value) for value in values)


def document(value: Value) -> str:
    """Return a mapping or a list as YAML."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Value) -> Iterator[str]:
    """Yield the lines of a value: what a collection holds is moved in under its key or dash."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            inside = list(_lines(item))
            if isinstance(item, Mapping) and item:
                yield f"{_text(key)}:"
                yield from (f"  {line}" for line in inside)
            elif _is_list(item) and item:
                yield f"{_text(key)}:"
                yield from inside
            else:
                yield f"{_text(key)}: {inside[0]}"
    elif _is_list(value) and value:
        assert isinstance(value, Sequence)
        for item in value:
            first, *rest = _lines(item)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    else:
        yield _scalar(value)


def _is_list(value: Value) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _scalar(value: Value) -> str:
    """Return a value without items on its line, in JSON's words, all of which are YAML."""
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in quoted)
