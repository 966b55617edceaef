"""Typed configuration: YAML in, frozen validated models out, every fault at once with its file and line.

A stage's schema derives from `Schema`. Each field is marked `identity` (it decides what the result is) or
`execution` (it decides only how the result comes about); hashes, completion marks and refusals look at
identity alone.
"""

import dataclasses
import difflib
import hashlib
import importlib
import pkgutil
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pydantic
import yaml
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError, core_schema

from pipeline.composition import Composed, Where, compose, secrets_in, truths_for_numbers
from pipeline.errors import ConfigError

S = TypeVar("S", bound="Schema")


class Schema(pydantic.BaseModel):
    """A section of a configuration: unknown keys are errors, values never change."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )

    @classmethod
    def meant_by(cls, values: Any) -> type["Schema"]:  # noqa: ARG003 - for those of several designs
        """Return the schema that a mapping is of; a stage of several designs tells them apart here."""
        return cls


def identity(default: Any = ..., **arguments: Any) -> Any:
    """Return a field that decides what the result is."""
    return pydantic.Field(default, json_schema_extra={"role": "identity"}, **arguments)


def execution(default: Any = ..., **arguments: Any) -> Any:
    """Return a field that decides only how the result comes about."""
    return pydantic.Field(default, json_schema_extra={"role": "execution"}, **arguments)


@dataclasses.dataclass(frozen=True)
class Kind:
    """The annotation of a choice: `kind: NAME` picks a module of `folder`, the rest is its `Config`.

    Where it is `bare`, a name alone stands for the kind as it comes.
    """

    folder: str
    bare: bool = False

    def names(self) -> list[str]:
        """Return the kinds there are: the modules of the folder."""
        package = importlib.import_module(self.folder)
        return sorted(module.name for module in pkgutil.iter_modules(package.__path__))

    def config(self, name: str) -> type[Any]:
        """Return the `Config` of a kind."""
        return typing.cast(type[Any], importlib.import_module(f"{self.folder}.{name}").Config)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._validate)

    def _validate(self, value: Any) -> Any:
        if type(value).__module__.startswith(f"{self.folder}."):
            return value
        names = self.names()
        if self.bare and isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, dict) or "kind" not in value:
            raise PydanticCustomError(
                "kind", "expected a mapping with kind: {names}", {"names": " | ".join(names)}
            )
        if value["kind"] not in names:
            near = did_you_mean(str(value["kind"]), names) or f" (there are {', '.join(names)})"
            raise PydanticCustomError(
                "kind",
                "kind {kind}: there is no such kind{near}",
                {"kind": repr(value["kind"]), "near": near},
            )
        rest = {key: item for key, item in value.items() if key != "kind"}
        return _adapter(self.config(value["kind"])).validate_python(rest)


@dataclasses.dataclass(frozen=True)
class Plain:
    """The annotation of a frozen standard-library dataclass (the kinds of `model` and `launch`)."""

    type: type[Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._validate)

    def _validate(self, value: Any) -> Any:
        return value if isinstance(value, self.type) else _adapter(self.type).validate_python(value)


def load(schema: type[S], path: Path, overrides: Sequence[str] = ()) -> S:
    """Compose and validate a configuration; ConfigError lists every fault with its place."""
    return validated(schema, compose(path, overrides))


def validate(schema: type[S], values: Mapping[str, Any], where: str) -> S:
    """Validate a mapping that is already in memory; `where` names it in errors."""
    return validated(schema, Composed(dict(values), {(): where}))


def validated(schema: type[S], composed: Composed) -> S:
    """Validate a composed configuration; one with a secret in it is refused: it will be written down."""
    if problems := secrets_in(composed):
        raise ConfigError(problems)
    schema = typing.cast(type[S], schema.meant_by(composed.value))
    try:
        found = schema.model_validate(composed.value)
    except ValidationError as fault:
        raise ConfigError([_problem(schema, composed, error) for error in fault.errors()]) from None
    if problems := truths_for_numbers(composed, plain(found)):
        raise ConfigError(problems)
    return found


def plain(config: Any) -> Any:
    """Return a configuration as the mappings, lists and scalars that `load` takes."""
    if isinstance(config, Schema) or dataclasses.is_dataclass(config):
        return {name: _with_kind(getattr(config, name)) for name in _fields(type(config))}
    if isinstance(config, Mapping):
        return {str(key): _with_kind(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [_with_kind(value) for value in config]
    return str(config) if isinstance(config, Path) else config


def dump(config: Schema) -> str:
    """Return a configuration as YAML; loading it gives an equal one."""
    return yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True, width=110)


def identity_of(config: Any) -> Any:
    """Return what of a configuration decides the result; nested sections are told apart field by field."""
    if isinstance(config, Schema):
        kept = {name: value for name, value in config if role(type(config), name) == "identity"}
        return {name: _named(value, identity_of(value)) for name, value in kept.items()}
    if isinstance(config, list | tuple):
        return [_named(value, identity_of(value)) for value in config]
    if isinstance(config, Mapping):
        return {str(key): _named(value, identity_of(value)) for key, value in config.items()}
    return plain(config)


def identity_hash(config: Any, **extra: Any) -> str:
    """Return 16 hex digits that change if and only if the identity (or `extra`) does."""
    content = orjson.dumps([identity_of(config), extra], option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Return one line for each value that differs: `optim.lr: 0.001 -> 0.002`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [*old, *(key for key in new if key not in old)]
        below = [differences(old.get(key), new.get(key), f"{prefix}.{key}".lstrip(".")) for key in keys]
        return [line for lines in below for line in lines]
    return [] if old == new else [f"{prefix}: {old!r} -> {new!r}"]


def role(schema: type[Schema], name: str) -> str:
    """Return `identity` or `execution`; a field without a role is a fault of ours."""
    extra = schema.model_fields[name].json_schema_extra
    assert isinstance(extra, dict) and "role" in extra, f"{schema.__name__}.{name} has no role"
    return str(extra["role"])


def kind_name(config: Any) -> str:
    """Return the kind of a chosen `Config`: the name of its module."""
    return type(config).__module__.rpartition(".")[2]


def did_you_mean(wrong: str, names: Sequence[str]) -> str:
    """Return ` (did you mean NAME?)` for the nearest name, or nothing."""
    near = difflib.get_close_matches(wrong, names, n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""


def _problem(schema: type[Schema], composed: Composed, error: Any) -> str:
    where: Where = error["loc"]
    message = error["msg"][:1].lower() + error["msg"][1:]
    if error["type"] == "extra_forbidden":
        keys = _keys_at(schema, composed.value, where[:-1])
        near = did_you_mean(str(where[-1]), keys) or f" (there are {', '.join(keys)})"
        message = f"unknown key{near}"
    elif error["type"] == "missing":
        message = "missing; give it a value"
    elif error["type"] == "value_error":
        message = message.removeprefix("value error, ")
        named = (*where, message.partition(" ")[0])
        where = named if named in composed.places else where
    elif not isinstance(error["input"], dict | list):
        message += f", got {error['input']!r}"
    elif error["type"] == "kind" and error["input"]:
        where, message = _kind_problem(where, error["input"], message)
    return composed.line(where, message)


def _kind_problem(where: Where, given: Any, message: str) -> tuple[Where, str]:
    """Return where a choice goes wrong: its kind is none there is, or it has none, misspelt perhaps."""
    if not isinstance(given, dict):
        return where, message
    if "kind" in given:
        return (*where, "kind"), message
    near = difflib.get_close_matches("kind", list(given), n=1)
    if near:
        return (*where, near[0]), f"unknown key (did you mean kind?); {message}"
    return (*where, next(iter(given))), f"{message}, got {', '.join(map(str, given))}"


def _keys_at(schema: Any, value: Any, where: Where) -> list[str]:
    """Return the keys that the section at a path takes."""
    for step in where:
        schema = _inside(schema, value)
        value = value[step] if isinstance(value, dict) or isinstance(step, int) else None
        schema = _fields(schema).get(str(step), schema) if not isinstance(step, int) else schema
    return list(_fields(_inside(schema, value)))


def _inside(annotation: Any, value: Any) -> Any:
    """Return the class that an annotation asks for, once lists, options and choices are taken off."""
    if isinstance(annotation, Kind) and isinstance(value, dict):
        return annotation.config(value["kind"])
    if isinstance(annotation, Plain):
        return annotation.type
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Annotated:
        marked = [mark for mark in arguments[1:] if isinstance(mark, Kind | Plain)]
        return _inside(marked[0] if marked else arguments[0], value)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, list, tuple, dict):
        candidates = [_inside(argument, value) for argument in arguments]
        return next((candidate for candidate in candidates if _fields(candidate)), annotation)
    return annotation


def _fields(schema: Any) -> dict[str, Any]:
    """Return the annotations of a schema's or dataclass's fields, marks included."""
    if isinstance(schema, type) and issubclass(schema, Schema):
        return {
            name: typing.Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            for name, field in schema.model_fields.items()
        }
    if isinstance(schema, type) and dataclasses.is_dataclass(schema):
        return {field.name: field.type for field in dataclasses.fields(schema) if field.init}
    return {}


def _with_kind(config: Any) -> Any:
    return _named(config, plain(config))


def _named(config: Any, values: Any) -> Any:
    """Put `kind` in front of the values of a chosen `Config`."""
    return {"kind": kind_name(config), **values} if type(config).__name__ == "Config" else values


def _adapter(config: type[Any]) -> Any:
    if issubclass(config, pydantic.BaseModel):
        return pydantic.TypeAdapter(config)
    return _Dataclass(config)


class _Dataclass:
    """Validation of a standard-library dataclass that refuses unknown keys, as pydantic alone does not."""

    def __init__(self, config: type[Any]):
        self._config = config

    def validate_python(self, value: Any) -> Any:
        known = _fields(self._config)
        unknown = sorted(set(value) - set(known)) if isinstance(value, dict) else []
        faults = [InitErrorDetails(type="extra_forbidden", loc=(key,), input=value[key]) for key in unknown]
        rest = {key: item for key, item in value.items() if key in known} if unknown else value
        try:
            built = pydantic.TypeAdapter(self._config).validate_python(rest)
        except ValidationError as fault:
            faults += [
                InitErrorDetails(type=_same(error), loc=error["loc"], input=error["input"])
                for error in fault.errors()
            ]
        if faults:
            raise ValidationError.from_exception_data(self._config.__name__, faults)
        return built


def _same(error: Any) -> PydanticCustomError:
    """Return an error with the same type and text as one that pydantic reported."""
    return PydanticCustomError(error["type"], "{text}", {"text": error["msg"]})
