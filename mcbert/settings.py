"""Sections of settings: frozen pydantic dataclasses of strict types, whose errors are one line each.

    @section("finetune")
    class FinetuneSettings:
        epochs: Positive = 5
        \"\"\"Passes over the training texts.\"\"\"

        @model_validator(mode="after")
        def _check_patience(self) -> Self: ...

A field's type says what it takes (`Positive`, `Share`, `Distinct[Whole]`, a Literal), the docstring under it
what it means: both reach docs/reference.md through the JSON schema. What concerns several fields is checked
by a validator, whose message begins with the full name of a setting; `HERE` stands for the section in it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Annotated, Any, TypeVar, cast, dataclass_transform

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    Strict,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema

HERE = "{section}"
"""In the message of a validator: the section's name, which differs where a section is part of another."""

_CONFIG = ConfigDict(
    strict=True,
    extra="forbid",
    allow_inf_nan=False,
    use_attribute_docstrings=True,
)

T = TypeVar("T")


def distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    """Return the values; refuse one that is there twice."""
    for position, value in enumerate(values):
        if value in values[:position]:
            raise ValueError(f"got {value!r} twice, accepted: each entry once")
    return values


Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Number = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Several = Annotated[tuple[T, ...], Strict(False)]
"""A list or a tuple; TOML has lists."""
Distinct = Annotated[tuple[T, ...], Strict(False), AfterValidator(distinct)]
"""The same, each entry once."""
Filled = Annotated[tuple[T, ...], Strict(False), Field(min_length=1), AfterValidator(distinct)]
"""The same, at least one."""


def _none(value: Any) -> Any:
    return None if value == "none" else value


Optional = Annotated[T | None, BeforeValidator(_none)]
"""None is written "none" in TOML, which has no such value."""


class SettingError(ValueError):
    """A setting that cannot be.

    Attributes
    ----------
    key : str
        Its full name.
    """

    def __init__(self, text: str, key: str = "") -> None:
        super().__init__(text)
        self.key = key


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(dataclasses.field, Field))
def section(name: str) -> Callable[[type[T]], type[T]]:
    """Make a class a section of settings.

    Parameters
    ----------
    name : str
        The section in a configuration, in messages.

    Returns
    -------
    callable
        A decorator. The class's constructor raises `SettingError`.
    """

    def decorate(kind: type[T]) -> type[T]:
        plain: Any = kind
        plain.__get_pydantic_core_schema__ = classmethod(_core_schema)
        made: Any = dataclass(frozen=True, kw_only=True, config=_CONFIG)(kind)
        validate = made.__init__

        @functools.wraps(validate)
        def init(self: Any, **given: Any) -> None:
            try:
                validate(self, **given)
            except ValidationError as error:
                raise _error(error, made, name) from error

        made.__init__ = init
        made.section = name
        return cast(type[T], made)

    return decorate


def require(holds: bool, name: str, given: Any, accepted: str) -> None:
    """Raise unless a condition of a section's setting holds."""
    if not holds:
        raise ValueError(f"{HERE}.{name}: got {shown(given)}, accepted: {accepted}")


def default(settings: Any, name: str) -> Any:
    """Return the default of a setting."""
    field = next(field for field in dataclasses.fields(settings) if field.name == name)
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def require_default(settings: Any, names: Sequence[str], why: str, *, of: str = HERE) -> None:
    """Raise where a setting of a section, `of`, is set and would do nothing; `why` says when."""
    for name in names:
        usual = default(settings, name)
        if getattr(settings, name) != usual:
            written = json.dumps("none" if usual is None else usual)
            raise ValueError(f"{of}.{name}: means nothing {why}; leave it out ({of}.{name}={written})")


def _core_schema(kind: type, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    """Return the schema of a section: a mapping becomes one, too, and fields keep inherited docstrings."""
    fields: dict[str, FieldInfo] = vars(kind).get("__pydantic_fields__", {})
    for base in kind.__mro__[1:]:
        for name, inherited in getattr(base, "__pydantic_fields__", {}).items():
            fields[name].description = fields[name].description or inherited.description
    schema = handler(source)
    found: dict[str, Any] = cast(Any, handler.resolve_ref_schema(schema))
    while found["type"] != "dataclass":  # validators are around it
        found = found["schema"]
    found["strict"] = False  # of the section, not of its settings
    return schema


def words(schema: Mapping[str, Any], *, several: bool = False) -> str:
    """Return what a setting takes, from its JSON schema: "a whole number from 1", "a list of texts"."""
    if "anyOf" in schema:
        return f"{words(schema['anyOf'][0])} or none"
    if choices := [str(name) for name in schema.get("enum", []) if name]:
        return ", ".join(choices)
    if "$ref" in schema or "properties" in schema:
        return "a section"
    kind = schema.get("type", "")
    if kind == "array":
        least = ", at least one" if schema.get("minItems") else ""
        return f"{'lists' if several else 'a list'} of {words(schema['items'], several=True)}{least}"
    if kind == "object":
        values = schema.get("additionalProperties")
        entries = words(values, several=True) if isinstance(values, Mapping) else "values"
        return f"{'tables' if several else 'a table'} of {entries}"
    one, more = _WORDS.get(kind, ("a value", "values"))
    return (more if several else one) + _bounds(schema)


_WORDS = {
    "integer": ("a whole number", "whole numbers"),
    "number": ("a number", "numbers"),
    "string": ("text", "texts"),
    "boolean": ("true or false", "true or false"),
}


def _bounds(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    least = f" above {above}" if above is not None else f" from {low}" if low is not None else ""
    if below is not None:
        return f"{least}, below {below}"
    if high is None:
        return least
    return f"{least} to {high}" if above is None else f"{least}, at most {high}"


def shown(value: Any) -> str:
    """Return a value as Python writes it, shortened."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of more than 4,300 digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def nearest(name: Any, known: Sequence[str], said: str) -> str:
    """Return a hint at the name that was meant, or nothing; `said` has a place for it."""
    close = get_close_matches(str(name), known, n=1)
    return f" ({said.format(close[0])})" if close else ""


def unknown_key(
    key: str, known: Sequence[str], renamed: Mapping[str, str] = MappingProxyType({})
) -> SettingError:
    """Return the error for a key that no section has; `renamed` has what keys of earlier versions are now."""
    hint = nearest(key.rpartition(".")[2], known, "did you mean {}?")
    hint = f" (now called {renamed[key]})" if key in renamed else hint
    return SettingError(f"unknown key {key}{hint}; accepted: {', '.join(known)}", key)


def _error(error: ValidationError, kind: type, name: str) -> SettingError:
    """Return the first error of a section in one line; a key that is unknown comes before others."""
    found = error.errors(include_url=False)
    first = min(found, key=lambda one: one["type"] != "unexpected_keyword_argument")
    place, schema, of_section = _place(TypeAdapter(kind).json_schema(), first["loc"], name)
    key = ".".join(place)
    match first["type"]:
        case "unexpected_keyword_argument":
            return unknown_key(key, list(of_section))
        case "missing":
            return SettingError(f"key {key} is missing", key)
        case "value_error":
            text = str(first["ctx"]["error"])
            if "properties" in schema:  # a validator of the section: it says which setting
                text = text.replace(HERE, key)
                return SettingError(text, text.partition(":")[0])
            return SettingError(f"{key}: {text}", key)
    given = shown(first["input"])
    if first["loc"][-1] == "[key]":
        return SettingError(f"{key}: got the key {given}, accepted: a whole number", key)
    hint = nearest(first["input"], list(map(str, schema.get("enum", []))), "nearest: {}")
    return SettingError(f"{key}: got {given}, accepted: {words(schema)}{hint}", key)


def _place(
    root: Mapping[str, Any], loc: Sequence[str | int], name: str
) -> tuple[list[str], Mapping[str, Any], Mapping[str, Any]]:
    """Return the full name of what an error is about, its JSON schema, and the properties of its section."""
    place, schema = [name] if name else [], root
    properties: Mapping[str, Any] = root["properties"]
    for part in loc[:-2] if loc[-1:] == ("[key]",) else loc:
        if "properties" in schema:
            place.append(str(part))
            schema = schema["properties"].get(part, {})
        elif "items" in schema:
            schema = schema["items"]
        else:
            place.append(str(part))
            schema = schema.get("additionalProperties", {})
        if "$ref" in schema:
            schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
            properties = schema.get("properties", {})
        schema = schema if isinstance(schema, Mapping) else {}
    return place, schema, properties
