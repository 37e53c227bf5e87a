import pytest

from mcbert.features.cache import Shard, StoreError, StoreSpec, dataset_name

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


def test_a_shard_is_a_list_of_units_of_any_size():
    shard = Shard((4096, 4100, 5000, 5001))
    assert shard.units == {4096: 4100, 4100: 5000, 5000: 5001}
    assert (shard.start, shard.stop, shard.n_texts) == (4096, 5001, 905)
    assert (shard.name, shard.journal) == ("rows-000004096.h5", "rows-000004096.journal")


@pytest.mark.parametrize("bounds", [(), (0,), (0, 0), (3, 2), (-1, 2), (0, 2.0), (0, True)])
def test_units_without_texts_are_refused(bounds):
    with pytest.raises(StoreError, match="accepted: two or more rising numbers from 0"):
        Shard(bounds)


def test_a_long_list_of_bounds_is_shortened_in_messages():
    with pytest.raises(StoreError) as caught:
        Shard(tuple(range(5000, 0, -1)))
    assert len(str(caught.value)) < 130
