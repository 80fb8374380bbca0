"""Cross-validation groups: rows that share a lead or an account never fall on both sides of a split."""

import numpy as np
import polars as pl


def groups(spine: pl.DataFrame) -> pl.Series:
    """Number the connected components of leads and accounts.

    A lead may move between accounts over its snapshots, which ties both accounts together.

    Returns
    -------
    Series `group` of UInt32, one value per spine row, numbered by first appearance of the smallest lead_id.
    """
    pairs = spine.select("lead_id", "account_id").unique().sort("lead_id", "account_id", nulls_last=True)
    lead = pairs["lead_id"].rank("dense").cast(pl.Int64) - 1
    n_leads = 0 if pairs.is_empty() else pairs["lead_id"].n_unique()
    account = pairs["account_id"].rank("dense").cast(pl.Int64) - 1 + n_leads
    roots = _components(lead.to_list(), account.to_list(), n_leads + pairs["account_id"].n_unique())
    component = pairs.select("lead_id").with_columns(root=pl.Series(roots, dtype=pl.Int64)).unique("lead_id")
    number = pl.col("root").rank("dense").cast(pl.UInt32) - 1
    return spine.join(
        component.select("lead_id", group=number), on="lead_id", how="left", maintain_order="left"
    )["group"]


def assign_folds(groups: pl.Series, n_folds: int, random_state: int) -> pl.Series:
    """Deal whole groups to folds, the largest first, each to the fold with the fewest rows.

    Returns
    -------
    Series `fold` of UInt8 in [0, n_folds), one value per element of `groups`.

    Raises
    ------
    ValueError
        There are fewer groups than folds.
    """
    sizes = groups.to_frame("group").group_by("group").len().sort("group")
    if sizes.height < n_folds:
        raise ValueError(f"n_folds={n_folds} needs as many groups, got {sizes.height}; lower n_folds")
    shuffled = np.random.default_rng(random_state).permutation(sizes.height)
    order = shuffled[np.argsort(-sizes["len"].to_numpy()[shuffled].astype(np.int64), kind="stable")]
    fold, load = np.empty(sizes.height, dtype=np.uint8), np.zeros(n_folds, dtype=np.int64)
    for index in order:
        fold[index] = load.argmin()
        load[fold[index]] += sizes["len"][int(index)]
    dealt = sizes.select("group").with_columns(fold=pl.Series(fold))
    return groups.to_frame("group").join(dealt, on="group", how="left", maintain_order="left")["fold"]


def _components(left: list[int], right: list[int | None], n_nodes: int) -> list[int]:
    """Return the smallest node of each left node's component (union-find with path halving)."""
    parent = list(range(n_nodes))

    def find(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in zip(left, right, strict=True):
        if b is not None:
            low, high = sorted((find(a), find(b)))
            parent[high] = low
    return [find(node) for node in left]
