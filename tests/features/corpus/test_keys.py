import pytest

from mcbert.features.corpus import CorpusSettings
from mcbert.features.corpus.keys import key, of_section


def test_a_key_is_of_the_section_that_is_read():
    assert key("leaks") == "corpus.leaks"
    with of_section("embeddings.corpus"):
        assert key("leaks") == "embeddings.corpus.leaks"
        with pytest.raises(ValueError, match=r"^embeddings\.corpus\.leaks: got 'x', accepted: drop"):
            CorpusSettings(leaks="x")
    assert key("leaks") == "corpus.leaks"


def test_an_error_ends_the_section():
    with pytest.raises(KeyError), of_section("embeddings.corpus"):
        raise KeyError
    assert key("path") == "corpus.path"
