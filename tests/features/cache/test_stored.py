import pytest

from mcbert.features.cache import StoreError, StoreSpec
from mcbert.features.cache.stored import dataset_name

FIELDS = {"layers": (0, 12), "poolings": ("max", "cls"), "hidden_size": 8, "storage_dtype": "float16"}


def test_datasets_go_layer_by_layer():
    spec = StoreSpec(**FIELDS)
    assert spec.datasets == ((0, "max"), (0, "cls"), (12, "max"), (12, "cls"))
    assert [dataset_name(*d) for d in spec.datasets][2:] == ["layer_12/max", "layer_12/cls"]
    assert (spec.n_datasets, spec.stride, spec.dtype.str) == (4, 16, "<f2")


def test_a_spec_comes_back_from_json_whatever_else_is_there():
    fields = {"layers": [0, 12], "poolings": ["max", "cls"], "texts": "x"}
    assert StoreSpec.of(FIELDS | fields) == StoreSpec(**FIELDS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layers": ()}, r"layers: got \[\]"),
        ({"layers": (1, 1)}, r"layers: got \[1, 1\], accepted: numbers from 0, each once"),
        ({"layers": (-1,)}, r"layers: got \[-1\]"),
        ({"layers": (True,)}, r"layers: got \[True\]"),
        ({"layers": ("2",)}, r"layers: got \['2'\]"),
        ({"poolings": ()}, r"poolings: got \[\]"),
        ({"poolings": ("max", "max")}, "each once"),
        ({"poolings": ("../../max",)}, "poolings: got '../../max', accepted: small letters"),
        ({"hidden_size": 0}, "hidden_size: got 0, accepted: 1 to 1048576"),
        ({"storage_dtype": "float64"}, "storage_dtype: got 'float64', accepted: float16, float32"),
    ],
)
def test_what_cannot_be_stored(change, said):
    with pytest.raises(StoreError, match=said):
        StoreSpec(**(FIELDS | change))
