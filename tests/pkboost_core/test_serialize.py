import hashlib
import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkboost_core import PKBoostClassifier
from pkboost_core.dtypes import NODE
from pkboost_core.ensemble import Ensemble
from pkboost_core.integrity import check_ensemble
from pkboost_core.serialize import ModelFileError, dumps, load, loads, register, save


@register
class Shelf:
    """A model that is nothing but its state."""

    def __init__(self, state):
        self.state = state

    def to_state(self):
        return self.state

    @classmethod
    def from_state(cls, state):
        return cls(state)


@register
class Trees:
    def __init__(self, ensemble):
        self.ensemble_ = ensemble

    def to_state(self):
        e = self.ensemble_
        return {
            "nodes": e.nodes,
            "offsets": e.tree_offsets,
            "base": e.base_score,
            "bins": list(e.bin_thresholds),
        }

    @classmethod
    def from_state(cls, state):
        bins = tuple(state["bins"])
        flags = np.zeros(len(bins), bool)
        return cls(Ensemble(state["nodes"], state["offsets"], state["base"], bins, flags))


def stump(**changes):
    nodes = np.zeros(3, NODE)
    nodes["is_leaf"] = [False, True, True]
    nodes["left"], nodes["right"], nodes["feature"] = [1, -1, -1], [2, -1, -1], [0, -1, -1]
    nodes["value"], nodes["cover"] = [0, -1, 1], [3, 1, 2]
    for name, (i, value) in changes.items():
        nodes[name][i] = value
    return Ensemble(nodes, np.array([0, 3]), np.zeros(1), (np.array([0.5]),), np.zeros(1, bool))


def example():
    return Shelf(
        {
            "name": "é",
            "numbers": [1, 2.5, None, True, float("inf"), float("-inf")],
            "nested": {
                "a": np.arange(6.0).reshape(2, 3),
                "b": [np.array([True, False]), np.array(["x", "yy"])],
            },
            "empty": np.zeros((0, 4), np.float32),
            "scalar": np.float64(0.25),
            "transposed": np.arange(6, dtype=np.int32).reshape(2, 3).T,
        }
    )


def signed(body):
    return body + hashlib.sha256(body).hexdigest().encode()


def forge(header, members=(), compression=zipfile.ZIP_STORED, names=None):
    """An archive with a right checksum and whatever inside."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.comment = b"0" * 64
        archive.writestr("model.json", header if isinstance(header, str) else json.dumps(header))
        for i, member in enumerate(members):
            archive.writestr(names[i] if names else f"{i}.npy", member)
    return signed(buffer.getvalue()[:-64])


def npy(array, **options):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **options)
    return stream.getvalue()


def header(state=None, **changes):
    return {"format": "pkboost", "version": 1, "class": "Shelf", "state": state or {}, **changes}


def test_round_trip_keeps_values_types_and_shapes(tmp_path):
    save(example(), tmp_path / "m.pkb")
    state = load(tmp_path / "m.pkb").state
    assert state["name"] == "é"
    assert state["numbers"] == [1, 2.5, None, True, float("inf"), float("-inf")]
    assert state["scalar"] == 0.25
    np.testing.assert_array_equal(state["nested"]["a"], np.arange(6.0).reshape(2, 3))
    assert state["nested"]["b"][1].tolist() == ["x", "yy"]
    assert state["empty"].shape == (0, 4)
    assert state["empty"].dtype == np.float32
    assert state["transposed"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert [path.name for path in tmp_path.iterdir()] == ["m.pkb"]


def test_a_fitted_booster_survives(tmp_path):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(600, 3)), rng.integers(0, 9, 600)])
    model = PKBoostClassifier(n_estimators=20, categorical_features=[3]).fit(X, X[:, 0] + X[:, 3] > 4)
    save(model, tmp_path / "m.pkb")
    again = load(tmp_path / "m.pkb")
    assert again.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()
    assert again.get_params() == model.get_params()
    assert dumps(again) == dumps(model)


def test_equal_states_give_equal_bytes():
    assert dumps(example()) == dumps(example())
    assert dumps(loads(dumps(example()))) == dumps(example())


def test_node_records_come_back_aligned():
    nodes = loads(dumps(Trees(stump()))).ensemble_.nodes
    assert nodes.dtype == NODE
    assert nodes.dtype.isalignedstruct
    assert nodes.tobytes() == stump().nodes.tobytes()


def test_garbage_between_record_fields_does_not_reach_the_file():
    dirty = stump()
    raw = np.frombuffer(dirty.nodes.tobytes(), np.uint8).reshape(3, NODE.itemsize).copy()
    used = np.zeros(NODE.itemsize, bool)
    for dtype, offset, *_ in NODE.fields.values():
        used[offset : offset + dtype.itemsize] = True
    assert not used.all()
    raw[:, ~used] = 255
    nodes = raw.reshape(-1).view(NODE)
    other = Ensemble(nodes, dirty.tree_offsets, dirty.base_score, dirty.bin_thresholds, dirty.is_categorical)
    assert dumps(Trees(other)) == dumps(Trees(stump()))


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "m.pkb"
    save(example(), path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match=r"state\.x is a object"):
        save(Shelf({"x": object()}), path)
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["m.pkb"]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_flipped_byte_is_noticed(data):
    good = dumps(example())
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ModelFileError):
        loads(bytes(bad))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_truncation_or_addition_is_noticed(data):
    good = dumps(example())
    with pytest.raises(ModelFileError):
        loads(good[: data.draw(st.integers(0, len(good) - 1))])
    with pytest.raises(ModelFileError):
        loads(good + data.draw(st.binary(min_size=1, max_size=80)))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_flipped_byte_with_a_right_checksum_raises_nothing_else(data):
    body = bytearray(dumps(Trees(stump()))[:-64])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        ensemble = loads(signed(bytes(body))).ensemble_
    except ModelFileError:
        return
    check_ensemble(ensemble)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a model"),
        (pickle.dumps({"a": 1}) * 40, "not a model"),
        (forge(header(version=2)), "version 2"),
        (forge(header(version=None)), "version None"),
        (forge(header(format="other")), "'other'"),
        (forge(header(**{"class": "os.system"})), r"class 'os\.system' is unknown"),
        (forge("[1]"), "not an object"),
        (forge("{"), "damaged archive"),
        (forge("[" * 100_000), "damaged archive"),
        (forge(header({"x": {"$array": 0}})), "array 0 is missing"),
        (forge(header({"x": {"$array": -1}}), [npy(np.zeros(2))]), "array -1 is missing"),
        (forge(header({"x": {"$float": "1e9"}})), "misspelt"),
        (forge(header(), [npy(np.zeros(2))], names=["../x.npy"]), "unexpected member"),
        (forge(header(), [npy(np.zeros(9000))], zipfile.ZIP_DEFLATED), "compressed"),
        (forge(header(), [npy(np.array([None]), allow_pickle=True)]), "elements of type object"),
        (forge(header(), [npy(np.zeros(2, "M8[s]"))]), "elements of type"),
        (forge(header(), [npy(np.zeros(2, "i4,f8"))]), "elements of type"),
        (forge(header(), [npy(np.zeros((2, 3), order="F"))]), "odd layout"),
        (forge(header(), [npy(np.zeros(9)).replace(b"(9,)", b"(8,)")]), "another size"),
        (forge(header(), [npy(np.zeros(9)).replace(b"(9,), }    ", b"(99999,), }")]), "another size"),
        (forge(header(), [b"not npy at all"]), "damaged archive"),
        (forge({"format": "pkboost", "version": 1, "class": "Shelf"}), "does not fit Shelf"),
        (forge(header({"nodes": 3}, **{"class": "Trees"})), "does not fit Trees"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hostile_files_are_refused(data, message):
    with pytest.raises(ModelFileError, match=message):
        loads(data)


def test_the_error_names_the_file(tmp_path):
    (tmp_path / "bad.pkb").write_bytes(b"PK" + b"0" * 100)
    with pytest.raises(ModelFileError, match=r"bad\.pkb.*checksum"):
        load(tmp_path / "bad.pkb")


@pytest.mark.parametrize(
    "changes",
    [
        {"left": (0, 0)},
        {"left": (0, 3)},
        {"left": (0, -1)},
        {"right": (0, 1)},
        {"left": (1, 2)},
        {"feature": (0, 1)},
        {"feature": (0, -1)},
        {"value": (1, np.nan)},
        {"threshold": (0, np.nan)},
        {"cover": (2, -1.0)},
        {"is_categorical": (0, True)},
    ],
    ids=str,
)
def test_trees_that_would_crash_kernels_are_refused(changes):
    check_ensemble(stump())
    with pytest.raises(ModelFileError):
        loads(dumps(Trees(stump(**changes))))


@pytest.mark.parametrize(
    "value", [{"$array": 1}, {1: 2}, [{3}], np.array([None]), np.zeros(1, "M8[s]")], ids=repr
)
def test_states_that_cannot_be_stored_are_refused(value):
    with pytest.raises(TypeError, match="state"):
        dumps(Shelf({"x": value}))
