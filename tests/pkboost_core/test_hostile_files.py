"""Whatever numbers a file holds, it is refused or its model answers: nothing crashes or reads outside."""

import copy
import sys

import numpy as np
import pytest

from pkboost_core import PKBoostClassifier, PKBoostRegressor
from pkboost_core.serialize import ModelFileError, dumps, loads

RNG = np.random.default_rng(0)
ROWS = np.column_stack([RNG.normal(size=(300, 2)), RNG.integers(0, 5, (300, 2))])
LABELS = (ROWS[:, 0] + (ROWS[:, 2] == 3) > 0.3).astype(int)
BATCH = np.tile(np.vstack([ROWS[:50], [[np.nan, np.inf, np.nan, 99.0], [-np.inf, 0.0, -1.0, 0.5]]]), (4, 1))
OPTIONS = {"n_estimators": 3, "max_leaf_nodes": 6, "early_stopping": False, "categorical_features": [2]}
MODELS = {
    "robust": PKBoostClassifier(**OPTIONS, robust=True).fit(ROWS, LABELS),
    "three classes": PKBoostClassifier(**OPTIONS).fit(ROWS, LABELS + (ROWS[:, 1] > 1)),
    "linear": PKBoostRegressor(**OPTIONS, linear_leaves=True).fit(ROWS, ROWS[:, 0] * ROWS[:, 2]),
    "bag": PKBoostClassifier(
        **OPTIONS | {"n_estimators": 1, "max_leaf_nodes": 3}, mode="quality", cross_features=True
    ).fit(ROWS, LABELS),
}
ODD_NUMBERS = [0, 1, -1, 2, 7, 63, 64, 127, 255, 256, 10**6, 2**31 - 1, -(2**31), 2**62, -(2**63)]
ODD_FLOATS = [0.5, -0.5, 1e-300, 1e38, 1e300, -1e300, np.inf, -np.inf, np.nan, *map(float, ODD_NUMBERS[:11])]


def file_of(state, kind=PKBoostClassifier):
    """The bytes of a file with any state and a right checksum."""
    model = type(kind.__name__, (), {"to_state": lambda self: state})()
    return dumps(model)


def places(value, path=()):
    """The way to every array, number and text in a state."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from places(item, (*path, key))
    else:
        yield path


def altered(value, rng):
    """The same kind of thing, but wrong."""
    if isinstance(value, np.ndarray):
        return altered_array(value, rng)
    if isinstance(value, bool) or value is None:
        return rng.choice([None, True, False, 3])
    if isinstance(value, str):
        return str(rng.choice(["", "x", "<U9", "|O", "auto", "1"]))
    odd = ODD_NUMBERS if isinstance(value, int) else ODD_FLOATS
    return odd[rng.integers(len(odd))]


def altered_array(array, rng):
    array = array.copy()
    way = rng.integers(8)
    if way == 0:
        return array[:-1]
    if way == 1:
        return np.concatenate([array, array])
    if way == 2:
        return array.astype(rng.choice(["f8", "i8", "u1", "i4", "?"]))
    if way == 3:
        return array.reshape((*array.shape, 1))
    if not array.size:
        return array
    at = rng.integers(0, array.size, 1 if way < 7 else array.size)
    if array.dtype == np.bool_:
        array.view(np.uint8).flat[at] ^= np.uint8(rng.choice([1, 2]))
    elif array.dtype.kind == "f":
        array.flat[at] = rng.choice(ODD_FLOATS, len(at))
    elif way == 4:
        array.flat[at] = array.flat[rng.integers(0, array.size)]
    else:
        limits = np.iinfo(array.dtype)
        array.flat[at] = [min(max(int(v), limits.min), limits.max) for v in rng.choice(ODD_NUMBERS, len(at))]
    return array


def mutated(state, rng):
    """A copy of a state with one to three things in it altered."""
    state = copy.deepcopy(state)
    ways = list(places(state))
    for _ in range(rng.integers(1, 4)):
        *path, last = ways[rng.integers(len(ways))]
        holder = state
        for key in path:
            holder = holder[key]
        holder[last] = altered(holder[last], rng)
    return state


def use(model):
    """Do everything that walks trees, on rows few and many; every row must end in a leaf of every tree."""
    for rows in (BATCH[:3], BATCH):
        leaves = model.apply(rows) + model.ensemble_.tree_offsets[:-1]
        assert (leaves >= model.ensemble_.tree_offsets[:-1]).all()
        assert (leaves < model.ensemble_.tree_offsets[1:]).all()
        assert model.ensemble_.nodes["is_leaf"][leaves].all()
        model.predict(rows)
        list(model.staged_predict(rows))
        model.shap_values(rows)
    model.trees_to_frame("none")
    for tree in range(model.n_trees_):
        model.tree_text(tree)
        model.tree_svg(tree)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", MODELS)
def test_a_file_with_wrong_numbers_is_refused_or_its_model_answers(name):
    state, kind, rng = MODELS[name].to_state(), type(MODELS[name]), np.random.default_rng(1)
    use(loads(file_of(state, kind)))
    n_loaded = 0
    for _ in range(80):
        try:
            model = loads(file_of(mutated(state, rng), kind))
        except ModelFileError:
            continue
        use(model)
        n_loaded += 1
    assert 5 < n_loaded < 75


def nodes_changed(**fields):
    return {"nodes": MODELS["robust"].to_state()["nodes"] | fields}


def with_many_levels():
    state = MODELS["robust"].to_state()
    levels, counts = np.arange(1000.0), state["threshold_counts"].copy()
    start = counts[:2].sum()
    parts = (state["thresholds"][:start], levels, state["thresholds"][start + counts[2] :])
    counts[2] = len(levels)
    return {"thresholds": np.concatenate(parts), "threshold_counts": counts}


def with_counts(count):
    reference = copy.deepcopy(MODELS["robust"].to_state()["reference"])
    column = reference["columns"][3]
    column["counts"] = np.full(len(column["counts"]), count)
    return {"reference": reference}


def not_robust():
    return {"reference": None, "params": MODELS["robust"].to_state()["params"] | {"robust": False}}


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return {"more": value}


N_NODES = len(MODELS["robust"].ensemble_.nodes)
NO_CHILD, IS_LEAF = np.full(N_NODES, -1, np.int32), MODELS["robust"].ensemble_.nodes["is_leaf"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            nodes_changed(is_leaf=np.ones(N_NODES, bool), left=NO_CHILD, right=NO_CHILD, feature=NO_CHILD),
            "every node but the root must be the child of exactly one node",
        ),
        (nodes_changed(is_leaf=(IS_LEAF * np.uint8(2)).view(bool)), "booleans other than 0 and 1"),
        (nodes_changed(count=np.zeros(N_NODES, np.int8)), "field 'count' of the nodes has .* int8; expected"),
        (nodes_changed(gain=np.zeros(1)), r"field 'gain' of the nodes has shape \(1,\)"),
        (with_many_levels(), "feature 2 has 1000 bin thresholds, at most 64"),
        (with_counts(10**13), "a count each, of 100000 rows together"),
        (with_counts(2**62), "a count each, of 100000 rows together"),
        (nested(300), "RecursionError"),
        (not_robust() | {"n_features": 5}, "the trees are for 4 columns, the table has 5"),
        ({"levels": {"2": ["a"]}}, "column 'x2' has 1 levels, the trees know more"),
        ({"classes_dtype": "<U500000000"}, "class labels of 2000000000 bytes, at most"),
        ({"classes": [0]}, "needs two classes or more"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_that_would_crash_or_fill_memory_are_refused(changes, message):
    data, limit = file_of(MODELS["robust"].to_state() | changes), sys.getrecursionlimit()
    sys.setrecursionlimit(min(limit, 500))  # pytest's own depth included
    try:
        with pytest.raises(ModelFileError, match=message):
            loads(data)
    finally:
        sys.setrecursionlimit(limit)
