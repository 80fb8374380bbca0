"""A bag: members fitted on random shares of the rows, their trees joined so that the sum is their mean."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from pkboost_core.holdout import strata_of_units, stratified_share
from pkboost_core.rows import Rows
from pkboost_core.stopping import Fitted, Stopping, fit_trees
from pkboost_core.training import Plan, scores_of

N_MEMBERS = 5

MEMBER_SHARE = 0.8
"""Share of the rows, or of the groups, of each stratum that a member is fitted on, without replacement."""


@dataclass(frozen=True)
class Member:
    """Trees of one member, and the rows it never saw with the raw scores it gives them."""

    trees: Sequence[np.ndarray]
    unseen: np.ndarray
    raw: np.ndarray


def fit_bag(
    rows: Rows,
    plan: Plan,
    stopping: Stopping,
    units: np.ndarray,
    held: Rows | None = None,
    n_threads: int = 1,
) -> Fitted:
    """Fit the members and return all their trees, leaf values divided by the number of members.

    Every member stops, and is refitted, within its own rows as `fit_trees` would on them alone; all start
    from the base score of `plan`. The raw score that a row is judged by is the mean over the members that
    never saw it; rows that every member saw are left out. Members run side by side on `n_threads`, each from
    its own seed: the result does not depend on the number of threads.
    """
    strata = strata_of_units(units, plan.loss.strata(rows.loss_target))

    def fit_member(m: int) -> Member:
        return _fit_member(m, rows, plan, stopping, units, strata, held)

    with ThreadPoolExecutor(min(n_threads, N_MEMBERS)) as pool:
        members = list(pool.map(fit_member, range(N_MEMBERS)))
    raw, is_judged = _mean_unseen_scores(members, len(rows))
    weight = rows.loss_weight[is_judged] if len(rows.loss_weight) else rows.loss_weight
    trees = [_shrunk(tree) for member in members for tree in member.trees]
    sizes = tuple(len(member.trees) for member in members)
    return Fitted(trees, np.zeros(0), raw[:, is_judged], rows.loss_target[is_judged], weight, sizes)


def _fit_member(
    m: int,
    rows: Rows,
    plan: Plan,
    stopping: Stopping,
    units: np.ndarray,
    strata: np.ndarray,
    held: Rows | None,
) -> Member:
    seed = int(np.random.SeedSequence([plan.seed, m]).generate_state(1)[0])
    rng = np.random.default_rng(seed)
    is_unseen = stratified_share(strata, 1.0 - MEMBER_SHARE, rng)[units]
    seen, unseen = np.flatnonzero(~is_unseen), np.flatnonzero(is_unseen)
    own_units = np.unique(units[seen], return_inverse=True)[1].astype(np.int64)
    fit = fit_trees(rows.take(seen), replace(plan, seed=seed), stopping, own_units, rng, held)
    return Member(fit.trees, unseen, scores_of(fit.trees, rows.take(unseen), plan))


def _mean_unseen_scores(members: Sequence[Member], n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's mean raw score over the members that never saw it, and which rows have one."""
    total, count = np.zeros((len(members[0].raw), n_rows)), np.zeros(n_rows, dtype=np.int64)
    for member in members:
        total[:, member.unseen] += member.raw
        count[member.unseen] += 1
    return total / np.maximum(count, 1), count > 0


def _shrunk(tree: np.ndarray) -> np.ndarray:
    shrunk = tree.copy()
    shrunk["value"] /= N_MEMBERS
    shrunk["term_slopes"] /= N_MEMBERS
    return shrunk
