"""What a fitted model tells about itself agrees with what it predicts."""

import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import polars as pl
import pytest

from pkboost_core import PKBoostClassifier
from pkboost_core.metrics import roc_auc

OPTIONS = {"n_estimators": 12, "early_stopping": False, "max_leaf_nodes": 6}


def leads(n, seed=0):
    rng = np.random.default_rng(seed)
    source = rng.choice(["web", 'fair "x" <&>', "call"], n)
    visits = rng.poisson(3, n).astype(float)
    y = (visits + 3 * (source == 'fair "x" <&>') + rng.normal(size=n) > 5).astype(int)
    visits[rng.random(n) < 0.1] = np.nan
    frame = pl.DataFrame({"noise": rng.normal(size=n), "visits": visits, "source": source})
    return frame.with_columns(pl.col("visits").fill_nan(None), pl.Series("grade", rng.integers(0, 3, n))), y


FRAME, LABELS = leads(800)


@pytest.fixture(scope="module")
def model():
    return PKBoostClassifier(**OPTIONS, categorical_features=["grade"]).fit(FRAME, LABELS)


def value_of(row, name):
    """Value of a column, or of a cross by its name; None where one is missing."""
    for sign, combine in ((" - ", float.__sub__), (" * ", float.__mul__)):
        first, found, second = name.partition(sign)
        if found:
            return None if None in (row[first], row[second]) else combine(row[first], row[second])
    return row[name]


def walk(table, tree, row, add_terms=lambda node, row: 0.0):
    """Raw score that a tree adds, read from the tables alone."""
    nodes = table.filter(pl.col("tree") == tree)
    at = 0
    while (node := nodes.row(at, named=True))["feature"] is not None:
        x = value_of(row, node["feature"])
        if x is None:
            is_left = node["missing"] == "left"
        elif node["categories"] is not None:
            is_left = str(x) in node["categories"].split(", ")
        else:
            is_left = x <= node["threshold"]
        at = node["left"] if is_left else node["right"]
    return node["value"] + add_terms(node, row)


def test_the_table_predicts_what_the_model_predicts(model):
    table = model.trees_to_frame("polars")
    assert table.height == len(model.ensemble_.nodes)
    rows = FRAME.head(30)
    read = [
        sum(walk(table, tree, row) for tree in range(model.n_trees_)) + model.ensemble_.base_score[0]
        for row in rows.iter_rows(named=True)
    ]
    np.testing.assert_allclose(read, model.decision_function(rows), atol=1e-12)


@pytest.fixture(scope="module")
def linear():
    """A bag with linear leaves and crosses, as the defaults of `mode="quality"` make it."""
    rng = np.random.default_rng(0)
    paid, due = rng.normal(size=(2, 2_600))
    score = 2 * np.tanh(paid) + 2 * (paid < due)
    paid[::17] = np.nan
    frame = pl.DataFrame({"paid": paid, "due": due, "source": rng.choice(["web", "call"], 2_600)})
    options = {"mode": "quality", "n_estimators": 3, "max_leaf_nodes": 6, "learning_rate": 0.3}
    y = rng.random(2_600) < 1 / (1 + np.exp(1.5 - score))
    frame = frame.with_columns(pl.col("paid").fill_nan(None))
    return PKBoostClassifier(**options).fit(frame, y), frame


def test_the_tables_of_linear_leaves_and_crosses_predict_what_the_model_predicts(linear):
    model, frame = linear
    table, terms, positions = (model.trees_to_frame("polars", t) for t in ("nodes", "terms", "positions"))
    assert table["n_terms"].sum() == terms.height > 0
    for named in (table["feature"].drop_nulls(), terms["feature"], positions["feature"]):
        assert named.str.contains(" - ").any()

    def add_terms(node, row):
        added = 0.0
        of_leaf = terms.filter(pl.col("tree") == node["tree"], pl.col("node") == node["node"])
        assert of_leaf.height == node["n_terms"]
        for term in of_leaf.iter_rows(named=True):
            x, z = value_of(row, term["feature"]), 0.0
            if x is not None:
                bins = positions.filter(pl.col("feature") == term["feature"], pl.col("threshold") >= x)
                z = bins["z"][0]
            added += term["slope"] * (z - term["center"])
        return added

    rows = frame.head(20)
    assert rows["paid"].null_count() > 0
    read = [
        sum(walk(table, tree, row, add_terms) for tree in range(model.n_trees_))
        + model.ensemble_.base_score[0]
        for row in rows.iter_rows(named=True)
    ]
    np.testing.assert_allclose(read, model.decision_function(rows), rtol=0, atol=1e-9)


def test_constant_leaves_have_tables_of_terms_without_rows(model):
    assert model.trees_to_frame("polars", table="terms").height == 0
    assert model.trees_to_frame("polars", table="positions").height == 0
    with pytest.raises(ValueError, match="table='leaves' should be one of 'nodes', 'terms', 'positions'"):
        model.trees_to_frame(table="leaves")


def test_drawings_show_the_terms_of_linear_leaves(linear):
    model, _ = linear
    terms = model.trees_to_frame("polars", "terms")
    tree, _, name, slope, center = terms.row(0)
    term = f"{slope:+.4g} (z of {name} - {center:.4g})"
    for drawing in (model.tree_text, model.tree_dot, model.tree_svg):
        assert term in drawing(tree)
    assert " slopes, " in model.tree_text(tree)


def test_the_table_counts_rows_as_apply_does(model):
    table = model.trees_to_frame("polars").filter(pl.col("feature").is_null())
    leaves = model.apply(FRAME)
    for tree, node, count, cover in table.select("tree", "node", "count", "cover").iter_rows():
        reached = (leaves[:, tree] == node).sum()
        assert cover == count
        assert count <= reached  # a tree grows on a sample of the rows


def test_the_table_comes_in_the_library_asked_for(model):
    frames = [model.trees_to_frame(library) for library in ("auto", "polars", "pandas", "none")]
    assert [type(frame) for frame in frames] == [pl.DataFrame, pl.DataFrame, pd.DataFrame, dict]
    assert list(frames[2].columns) == frames[0].columns == list(frames[3])
    with pytest.raises(ValueError, match="library='arrow' should be one of 'auto'"):
        model.trees_to_frame("arrow")


ALONE = """
import sys
import numpy as np
from pkboost_core import PKBoostClassifier
X = np.arange(60.0)[:, None]
model = PKBoostClassifier(n_estimators=2, early_stopping=False).fit(X, X[:, 0] > 29)
assert isinstance(model.trees_to_frame(), dict)
assert model.tree_text().startswith("x0 <= ")
assert not {"sklearn", "polars", "pandas"} & set(sys.modules)
try:
    model.trees_to_frame("pandas")
except ValueError as error:
    print(error)
"""


def test_without_frame_libraries_the_table_is_a_dict():
    run = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    assert run.stdout == "library='pandas' is not loaded; import pandas first\n"


def test_text_shows_every_node_with_names(model):
    text = model.tree_text(0)
    table = model.trees_to_frame("polars").filter(pl.col("tree") == 0)
    assert len(text.splitlines()) == table.height
    assert "visits <= " in text
    assert "source in {" in text
    assert text.count("└─ no: ") == (table.height - 1) / 2


def test_svg_is_wellformed_and_keeps_strange_names(model):
    n_boxes = 0
    for tree in range(model.n_trees_):
        root = ElementTree.fromstring(model.tree_svg(tree))  # noqa: S314
        boxes = root.findall("{http://www.w3.org/2000/svg}g")
        assert len(boxes) == np.diff(model.ensemble_.tree_offsets)[tree]
        assert len({(b[1].get("x"), b[1].get("y")) for b in boxes}) == len(boxes)
        n_boxes += sum('fair "x" <&>' in box[0].text for box in boxes)
    assert n_boxes > 0


def test_dot_links_every_child_once(model):
    dot = model.tree_dot(3)
    n_nodes = np.diff(model.ensemble_.tree_offsets)[3]
    assert dot.count(" -> ") == n_nodes - 1
    assert dot.replace('\\"', "").count('"') == 2 * n_nodes


@pytest.mark.parametrize("tree", [-1, 12])
def test_trees_that_do_not_exist_are_refused(model, tree):
    with pytest.raises(ValueError, match=f"tree={tree} should be from 0 to 11"):
        model.tree_text(tree)


def test_importances_by_kind_find_the_columns_that_matter(model):
    for kind in ("gain", "cover", "split"):
        shares = model.feature_importances(kind)
        assert shares.sum() == pytest.approx(1)
        assert shares[1] + shares[2] > shares[0] + shares[3]
    np.testing.assert_array_equal(model.feature_importances_, model.feature_importances("gain"))
    inner = model.trees_to_frame("polars").drop_nulls("feature")
    split = [(inner["feature"] == name).mean() for name in FRAME.columns]
    np.testing.assert_allclose(model.feature_importances("split"), split)
    with pytest.raises(ValueError, match="kind='weight' should be one of 'gain', 'cover', 'split'"):
        model.feature_importances("weight")


def test_permutation_importance_names_columns_and_takes_names_or_functions(model):
    X, y = leads(600, seed=1)
    found = model.permutation_importance(X, y, "roc_auc", n_repeats=3, random_state=4)
    assert found.names == ("noise", "visits", "source", "grade")
    assert set(np.argsort(-found.mean)[:2]) == {1, 2}
    same = model.permutation_importance(X, y, roc_auc, n_repeats=3, random_state=4)
    np.testing.assert_array_equal(found.mean, same.mean)
    with pytest.raises(ValueError, match="metric='auc' should be one of average_precision, roc_auc"):
        model.permutation_importance(X, y, "auc")


def test_an_explanation_adds_up_to_the_raw_score(model):
    for i in range(20):
        row = FRAME[i]
        found = model.explain(row)
        assert found.raw_score[0] == model.decision_function(row)[0]
        np.testing.assert_allclose(found.expected + found.contributions.sum(), found.raw_score, atol=1e-12)
        assert found.values == row.row(0)


def test_rows_can_be_explained_from_mappings_and_vectors(model):
    row = FRAME.row(5, named=True)
    expected = model.explain(FRAME[5])
    for same in (row, dict(reversed(row.items())), list(row.values()), model.columns_.matrix(FRAME, "")[5]):
        np.testing.assert_array_equal(model.explain(same).contributions, expected.contributions)
    with pytest.raises(ValueError, match="the row has no value for column 'visits'; use None"):
        model.explain({"noise": 1.0})
    with pytest.raises(ValueError, match="explain takes one row, got 800"):
        model.explain(FRAME)


def test_strongest_contributions_come_first(model):
    found = model.explain(FRAME[5])
    moves = [abs(contribution) for _, _, contribution in found.strongest()]
    assert moves == sorted(moves, reverse=True)
    assert {name for name, _, _ in found.strongest(2)} <= {"visits", "source"}
