"""Ways to fit one table: large trees on its columns, or shallow ones on them and their crosses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pkboost_core.binning import GROUP, Binning, fit_binning, sample_rows
from pkboost_core.constraints import interaction_groups
from pkboost_core.crosses import crossed, top_pairs, widened
from pkboost_core.linear_leaves import NO_POSITIONS, bin_positions
from pkboost_core.progress import SILENT
from pkboost_core.rows import Rows
from pkboost_core.training import Plan, boost

CROSS_ROWS = 2_000
"""Fewest rows of a member for shallow trees and crosses to be chosen by "auto"."""

SHALLOW = 4
"""Greatest depth of the trees that see crosses: unlike the large trees beside them in a bag."""

ENCODED_ROWS = 100_000
"""Rows whose crosses are held at a time."""

N_PROBE_TREES, PROBE_RATE = 50, 0.1
"""Trees that rank the columns by gain, and their learning rate."""


@dataclass(frozen=True)
class Recipe:
    """A plan with the rows as it sees them.

    Attributes
    ----------
    plan : Plan
    rows : training rows in the plan's bins
    pairs : int64 (n_pairs, 2), columns of X whose crosses lie behind them; empty without crosses
    """

    plan: Plan
    rows: Rows
    pairs: np.ndarray

    def held(self, values: np.ndarray, rows: Rows) -> Rows:
        """Return rows to stop on, binned without crosses, as this recipe sees them."""
        if not len(self.pairs):
            return rows
        return replace(rows, codes=encoded(self.plan.binning, values, self.pairs))


def wants_shallow(params: Mapping[str, Any], n_rows: int) -> bool:
    """Say whether shallow members with crosses are asked for; ValueError where they are and cannot be."""
    wanted = params["cross_features"]
    obstacles = [n for n in ("monotonic_constraints", "interaction_constraints") if params[n] is not None]
    obstacles += ["mode='fast'"] if params["mode"] == "fast" else []
    if wanted is True and obstacles:
        raise ValueError(f"cross_features=True does not go with {obstacles[0]}: set it to False")
    is_chosen = n_rows >= CROSS_ROWS if wanted == "auto" else bool(wanted)
    return is_chosen and not obstacles


def shallow_recipe(
    values: np.ndarray, rows: Rows, plan: Plan, max_bins: int, weight: np.ndarray | None, n_threads: int
) -> Recipe:
    """Return the recipe of shallow trees on the columns and the crosses of those that matter most.

    On the columns alone where fewer than two numeric ones split.

    Parameters
    ----------
    values : matrix of the training rows
    rows, plan : the same rows binned, and the plan for them
    weight : sample weights, or None
    """
    pairs = _chosen_pairs(rows, plan, n_threads)
    plan = replace(plan, rules=plan.rules._replace(max_depth=min(SHALLOW, plan.rules.max_depth)))
    if not len(pairs):
        return Recipe(plan, rows, pairs)
    rng = np.random.default_rng([plan.seed, 3])
    sample = sample_rows(len(values), rng)
    extra = crossed(values[sample], pairs)
    weight = None if weight is None else weight[sample]
    fresh = fit_binning(extra, max_bins, np.zeros(extra.shape[1], dtype=bool), weight, rng, n_threads)
    binning = Binning(
        plan.binning.thresholds + fresh.thresholds,
        np.concatenate([plan.binning.is_categorical, fresh.is_categorical]),
    )
    positions = bin_positions(binning.thresholds, binning.is_categorical)
    wide = replace(
        plan,
        binning=binning,
        monotonic=np.zeros(binning.n_features, dtype=np.int64),
        groups=interaction_groups(None, None, binning.n_features),
        positions=positions if len(plan.positions) else NO_POSITIONS,
    )
    return Recipe(wide, replace(rows, codes=encoded(binning, values, pairs, n_threads)), pairs)


def encoded(binning: Binning, values: np.ndarray, pairs: np.ndarray, n_threads: int = 1) -> np.ndarray:
    """Return the bin codes of columns and their crosses as `Binning.transform` does.

    The crosses of so many rows at a time exist: those of a million would take half a gigabyte.
    """
    codes = np.empty((binning.n_groups, len(values), GROUP), dtype=np.uint8)
    for start in range(0, len(values), ENCODED_ROWS):
        rows = slice(start, start + ENCODED_ROWS)
        codes[:, rows] = binning.transform(widened(values[rows], pairs), n_threads)
    return codes


def used(recipes: Sequence[Recipe], trees: Sequence[np.ndarray]) -> Recipe:
    """Return the recipe that knows all columns the trees test: the first unless one of them tests a cross."""
    n_columns = recipes[0].plan.binning.n_features
    return recipes[-1] if any((tree["feature"] >= n_columns).any() for tree in trees) else recipes[0]


def _chosen_pairs(rows: Rows, plan: Plan, n_threads: int) -> np.ndarray:
    """Return pairs of the numeric columns that earn most in a few quick trees."""
    probe = replace(
        plan,
        rules=plan.rules._replace(learning_rate=PROBE_RATE),
        n_trees=N_PROBE_TREES,
        positions=NO_POSITIONS,
        report=SILENT,
    )
    gain = np.zeros(plan.binning.n_features)
    for tree in boost(rows, probe, None, n_threads).trees:
        inner = tree[~tree["is_leaf"]]
        np.add.at(gain, inner["feature"], inner["gain"])
    return top_pairs(gain, ~plan.binning.is_categorical & (plan.binning.n_bins > 2))
