"""The trees as tables with names instead of codes: nodes, and what linear leaves add to them."""

import sys
from typing import Any

import numpy as np

from pkboost_core.columns import Columns
from pkboost_core.crosses import cross_label
from pkboost_core.dtypes import N_CATEGORY_WORDS
from pkboost_core.ensemble import Ensemble
from pkboost_core.linear_leaves import UNIT
from pkboost_core.predictor import positions_of


def tree_table(ensemble: Ensemble, columns: Columns) -> dict[str, np.ndarray]:
    """Return one row per node of every tree.

    Returns
    -------
    dict of equally long arrays
        tree, output : int64, number of the tree and of the raw score it adds to
        node, depth : int64, position within the tree (0 = root, as `apply` counts), distance from the root
        feature : object, name of the column tested, or of the two that a cross is made of: "a - b", "a * b";
            None in a leaf, as are `categories` and `missing`
        threshold : float64, values up to it go left; NaN in leaves and for categories
        categories : object, the levels that go left, joined by ", "; None for numbers
        missing : object, "left" or "right"
        gain, cover, count : of the split (0 in leaves), weight and number of the training rows
        n_terms : int64, of a linear leaf, which `term_table` lists; 0 in inner nodes and constant leaves
        value : float64, what a leaf adds to the raw score, before its terms; NaN in inner nodes
        left, right : int64, positions of the children, -1 in leaves
    """
    nodes, sizes = ensemble.nodes, np.diff(ensemble.tree_offsets)
    tree, start = np.repeat(np.arange(len(sizes)), sizes), np.repeat(ensemble.tree_offsets[:-1], sizes)
    is_leaf, is_categorical = nodes["is_leaf"], nodes["is_categorical"]
    sides = ("left" if node["missing_left"] else "right" for node in nodes)
    return {
        "tree": tree,
        "output": tree % ensemble.n_outputs,
        "node": np.arange(len(nodes)) - start,
        "depth": nodes["depth"].astype(np.int64),
        "feature": _objects(
            None if n["is_leaf"] else column_label(ensemble, columns, int(n["feature"])) for n in nodes
        ),
        "threshold": np.where(is_leaf | is_categorical, np.nan, nodes["threshold"]),
        "categories": _objects(_joined_levels(ensemble, columns, node) for node in nodes),
        "missing": _objects(None if leaf else side for leaf, side in zip(is_leaf, sides, strict=True)),
        "gain": nodes["gain"].copy(),
        "cover": nodes["cover"].copy(),
        "count": nodes["count"].copy(),
        "n_terms": nodes["n_terms"].astype(np.int64),
        "value": np.where(is_leaf, nodes["value"], np.nan),
        "left": np.where(is_leaf, -1, nodes["left"] - start),
        "right": np.where(is_leaf, -1, nodes["right"] - start),
    }


def term_table(ensemble: Ensemble, columns: Columns) -> dict[str, np.ndarray]:
    """Return one row per term of every linear leaf, which adds `slope * (z - center)` to the leaf's `value`.

    Returns
    -------
    dict of equally long arrays
        tree, node : int64, the leaf
        feature : object, name of the column, or of the two that a cross is made of
        slope, center : float64; `position_table` has z
    """
    nodes = ensemble.nodes
    leaf = np.repeat(np.arange(len(nodes)), nodes["n_terms"])
    term = np.concatenate([np.zeros(0, np.int64), *map(np.arange, nodes["n_terms"][nodes["n_terms"] > 0])])
    tree = np.searchsorted(ensemble.tree_offsets, leaf, side="right") - 1
    tested = nodes["term_features"][leaf, term]
    return {
        "tree": tree,
        "node": leaf - ensemble.tree_offsets[tree],
        "feature": _objects(column_label(ensemble, columns, int(j)) for j in tested),
        "slope": nodes["term_slopes"][leaf, term],
        "center": nodes["term_centers"][leaf, term],
    }


def position_table(ensemble: Ensemble, columns: Columns) -> dict[str, np.ndarray]:
    """Return one row per bin of every column that a term reads: a value's z is that of the bin it falls in.

    Returns
    -------
    dict of equally long arrays
        feature : object, name of the column, or of the two that a cross is made of
        threshold : float64, ascending within a feature, the greatest value of the bin; infinite in the last
        z : float64, middle of the bin, standardised; 0 where the value is missing
    """
    nodes, positions = ensemble.nodes, positions_of(ensemble)
    is_term = np.arange(nodes["term_features"].shape[1]) < nodes["n_terms"][:, None]
    read = np.unique(nodes["term_features"][is_term])
    edges = [np.append(ensemble.bin_thresholds[j], np.inf) for j in read]
    labels = [column_label(ensemble, columns, int(j)) for j in read]
    return {
        "feature": _objects(label for label, ends in zip(labels, edges, strict=True) for _ in ends),
        "threshold": np.concatenate([np.zeros(0), *edges]),
        "z": np.concatenate(
            [np.zeros(0), *(positions[j, : len(e)] / UNIT for j, e in zip(read, edges, strict=True))]
        ),
    }


TABLES = {"nodes": tree_table, "terms": term_table, "positions": position_table}
"""What `trees_to_frame` can return, by name."""


def column_label(ensemble: Ensemble, columns: Columns, tested: int) -> str:
    """Return the name of a column that trees test: a feature's, or that of a cross of two."""
    if tested < ensemble.n_features:
        return columns.label(tested)
    position = tested - ensemble.n_features
    i, j = ensemble.pairs[position // 2]
    return cross_label((columns.label(int(i)), columns.label(int(j))), position)


def _objects(values: Any) -> np.ndarray:
    return np.array(list(values), dtype=object)


def _joined_levels(ensemble: Ensemble, columns: Columns, node: np.void) -> str | None:
    if node["is_leaf"] or not node["is_categorical"]:
        return None
    return ", ".join(left_levels(ensemble, columns, node))


def left_levels(ensemble: Ensemble, columns: Columns, node: np.void) -> list[str]:
    """Return the levels that a categorical node sends left: names, or codes where only codes were given."""
    feature = int(node["feature"])
    words = [int(node["left_categories"][word]) for word in range(N_CATEGORY_WORDS)]
    codes = [
        int(code)
        for position, code in enumerate(ensemble.bin_thresholds[feature])
        if words[position // 64] >> (position % 64) & 1
    ]
    names = columns.levels.get(feature)
    return [str(code) if names is None else names[code] for code in codes]


def to_frame(table: dict[str, np.ndarray], library: str = "auto") -> Any:
    """Turn equally long arrays into a frame of a library that is already imported.

    Parameters
    ----------
    library : "polars", "pandas", "none" for the dict itself, or "auto": Polars if it is loaded, else pandas
        if it is, else the dict
    """
    if library not in ("auto", "polars", "pandas", "none"):
        raise ValueError(f"library={library!r} should be one of 'auto', 'polars', 'pandas', 'none'")
    wanted = ("polars", "pandas") if library == "auto" else (library,)
    loaded = next((sys.modules[name] for name in wanted if name in sys.modules), None)
    if loaded is None and library in ("polars", "pandas"):
        raise ValueError(f"library={library!r} is not loaded; import {library} first")
    if loaded is None:
        return table
    as_text = loaded.__name__ == "polars"
    return loaded.DataFrame(
        {
            name: loaded.Series(values.tolist(), dtype=loaded.String)
            if as_text and values.dtype == object
            else values
            for name, values in table.items()
        }
    )
