"""TOML that is written is read back as it was given."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcbert.files.toml import document, spelled

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.one_of(st.booleans(), st.integers(-(2**60), 2**60), FLOATS, TEXTS)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)
SECTIONS = st.dictionaries(
    st.sampled_from(["corpus", "finetune", "embeddings.corpus"]), st.dictionaries(TEXTS, VALUES)
)


@given(VALUES)
def test_any_value_is_read_back(value):
    assert tomllib.loads(f"v = {spelled(value)}")["v"] == value


@given(SECTIONS)
def test_a_file_of_sections_is_read_back(sections):
    if "embeddings.corpus" in sections:
        sections["embeddings.corpus"] = {"path": "a"}
    expected = {name: section for name, section in sections.items() if "." not in name}
    if "embeddings.corpus" in sections:
        expected["embeddings"] = {"corpus": {"path": "a"}}
    assert tomllib.loads(document(sections)) == expected


@pytest.mark.parametrize("value", ["\x7f", "\U0001f600", 'a "b" \\', "\n\t\x00", "é"])
def test_texts_that_json_spells_otherwise(value):
    assert tomllib.loads(f"v = {spelled({value: value})}")["v"] == {value: value}


def test_none_is_the_word_that_settings_read():
    assert spelled({"rate": None}) == '{ rate = "none" }'
