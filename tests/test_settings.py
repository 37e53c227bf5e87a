"""Sections of settings take strict types, and say in one line what they do not take."""

import dataclasses
import pickle
from typing import Any, Literal, Self

import pytest
from pydantic import TypeAdapter, model_validator

from mcbert.settings import (
    HERE,
    Distinct,
    Filled,
    Optional,
    Positive,
    SettingError,
    Several,
    Share,
    Whole,
    require,
    require_default,
    section,
    words,
)


@section("inner")
class Inner:
    kind: Literal["first", "second"] = "first"
    """Which."""


@section("base")
class Base:
    count: Positive = 5
    """How
    many."""

    rate: Optional[Share] = 0.5
    """How fast."""


@section("outer")
class Outer(Base):
    layers: Distinct[Whole] = ()
    """Layers."""

    names: Filled[str] = ("a",)
    """Names."""

    groups: Several[Several[int]] = ()
    """Groups."""

    flag: bool = False
    """Whether."""

    table: dict[str, Distinct[Whole]] = dataclasses.field(default_factory=dict)
    """Layers by name."""

    params: dict[str, object] = dataclasses.field(default_factory=dict)
    """Anything."""

    inner: Inner = dataclasses.field(default_factory=Inner)
    """A section of its own."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        require(self.count != 7, "count", self.count, f"any but 7 beside {HERE}.rate")
        if not self.flag:
            require_default(self, ("groups",), f"without {HERE}.flag")
        return self


@section("")
class Everything:
    outer: Outer
    """The section."""


@pytest.mark.parametrize(
    ("given", "key", "said"),
    [
        ({"count": 0}, "outer.count", "outer.count: got 0, accepted: a whole number from 1"),
        ({"count": True}, "outer.count", "outer.count: got True, accepted: a whole number from 1"),
        ({"count": "3"}, "outer.count", "outer.count: got '3', accepted: a whole number from 1"),
        ({"count": 3.0}, "outer.count", "outer.count: got 3.0, accepted: a whole number from 1"),
        (
            {"rate": float("nan")},
            "outer.rate",
            "outer.rate: got nan, accepted: a number from 0, below 1 or none",
        ),
        ({"rate": 1.0}, "outer.rate", "outer.rate: got 1.0, accepted: a number from 0, below 1 or none"),
        ({"flag": 1}, "outer.flag", "outer.flag: got 1, accepted: true or false"),
        ({"layers": 3}, "outer.layers", "outer.layers: got 3, accepted: a list of whole numbers from 0"),
        ({"layers": [3, -1]}, "outer.layers", "outer.layers: got -1, accepted: a whole number from 0"),
        ({"layers": [3, 3]}, "outer.layers", "outer.layers: got 3 twice, accepted: each entry once"),
        ({"names": []}, "outer.names", "outer.names: got [], accepted: a list of texts, at least one"),
        ({"names": "ab"}, "outer.names", "outer.names: got 'ab', accepted: a list of texts, at least one"),
        (
            {"table": []},
            "outer.table",
            "outer.table: got [], accepted: a table of lists of whole ",
        ),
        (
            {"table": {"a": [True]}},
            "outer.table.a",
            "outer.table.a: got True, accepted: a whole num",
        ),
        ({"inner": 3}, "outer.inner", "outer.inner: got 3, accepted: a section"),
        (
            {"inner": {"kind": "frist"}},
            "outer.inner.kind",
            "outer.inner.kind: got 'frist', accepted: first, second (nearest: first)",
        ),
        (
            {"inner": {"knd": "first"}},
            "outer.inner.knd",
            "unknown key outer.inner.knd (did you mean kind?); accepted: kind",
        ),
        ({"count": 7}, "outer.count", "outer.count: got 7, accepted: any but 7 beside outer.rate"),
        (
            {"groups": [[1]]},
            "outer.groups",
            "outer.groups: means nothing without outer.flag; leave it out (outer.groups=[])",
        ),
        (
            {"count": 0, "cuont": 1},
            "outer.cuont",
            "unknown key outer.cuont (did you mean ",
        ),
    ],
)
def test_an_error_has_the_key_and_one_line_with_what_is_accepted(given, key, said):
    for make in (lambda: Outer(**given), lambda: Everything(outer=given)):
        with pytest.raises(SettingError) as error:
            make()
        assert error.value.key == key
        assert str(error.value).startswith(said)
        assert "\n" not in str(error.value)


def test_an_error_keeps_its_key_on_the_way_from_a_worker():
    with pytest.raises(SettingError) as error:
        Outer(count=0)
    copied = pickle.loads(pickle.dumps(error.value))
    assert (str(copied), copied.key) == (str(error.value), "outer.count")
    assert pickle.loads(pickle.dumps(Outer(count=3))) == Outer(count=3)


def test_a_missing_section_is_named():
    with pytest.raises(SettingError, match="^key outer is missing$"):
        Everything()


def test_toml_becomes_tuples_floats_none_and_sections():
    made = Everything(
        outer={"layers": [2, 1], "rate": 0, "inner": {"kind": "second"}, "params": {"a": [1]}}
    ).outer
    assert (made.layers, made.rate, made.inner, made.params) == (
        (2, 1),
        0.0,
        Inner(kind="second"),
        {"a": [1]},
    )
    assert isinstance(made.rate, float)
    assert Outer(rate="none").rate is None


def test_settings_are_frozen_dataclasses_whose_copies_are_checked_too():
    made: Any = Outer(count=3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.count = 4
    assert dataclasses.replace(made, layers=[4]).layers == (4,)
    with pytest.raises(SettingError, match="^outer.count: got 0"):
        dataclasses.replace(made, count=0)
    assert list(dataclasses.asdict(made)) == ["count", "rate", "layers", "names", "groups", "flag", "table",
                                              "params", "inner"]  # fmt: skip


def test_the_schema_has_the_docstrings_those_of_bases_too():
    found = TypeAdapter(Outer).json_schema()["properties"]
    assert found["count"]["description"].split() == ["How", "many."]
    assert found["layers"]["description"] == "Layers."


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "integer"}, "a whole number"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "a number above 0, at most 1"),
        ({"type": "number", "minimum": 0, "maximum": 1}, "a number from 0 to 1"),
        (
            {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
            "a list of lists of texts",
        ),
        ({"type": "object", "additionalProperties": True}, "a table of values"),
        ({"enum": ["", "a", "b"]}, "a, b"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "a number or none"),
    ],
)
def test_what_a_setting_takes_is_said_in_words(schema: dict[str, Any], said: str):
    assert words(schema) == said
