"""A bag: members fitted on random shares of the rows, their trees joined so that the sum is their mean."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from pkboost_core.holdout import strata_of_units, stratified_share
from pkboost_core.loss import Loss
from pkboost_core.mixing import mixture
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


@dataclass(frozen=True)
class Kind:
    """What the members of a kind share: a plan, the rows in its bins, and rows to stop on where given."""

    plan: Plan
    rows: Rows
    held: Rows | None = None


def fit_bag(kinds: Sequence[Kind], stopping: Stopping, units: np.ndarray, n_threads: int = 1) -> Fitted:
    """Fit the members of each kind and return all their trees, leaf values times the share of a member.

    Every member stops, and is refitted, within its own rows as `fit_trees` would on them alone; all start
    from the base score of the plans. The raw score that a row is judged by is the mean over the members that
    never saw it; rows that every member saw are left out. On these scores kinds are weighed against each
    other (`mixing`), and a kind without weight leaves no trees. Member m of every kind sees the same rows.
    Members run side by side on `n_threads`, each from its own seed: the result does not depend on the number
    of threads.
    """
    rows, loss = kinds[0].rows, kinds[0].plan.loss
    strata = strata_of_units(units, loss.strata(rows.loss_target))
    n_members = N_MEMBERS * len(kinds)

    def fit_member(member: int) -> Member:
        kind, m = kinds[member // N_MEMBERS], member % N_MEMBERS
        report = kind.plan.report.within(f"member {member + 1} of {n_members}")
        named = replace(kind, plan=replace(kind.plan, report=report))
        return _fit_member(named, m, stopping, units, strata)

    with ThreadPoolExecutor(min(n_threads, n_members)) as pool:
        fitted = list(pool.map(fit_member, range(n_members)))
    return _mixed([fitted[i : i + N_MEMBERS] for i in range(0, len(fitted), N_MEMBERS)], rows, loss)


def _mixed(families: Sequence[Sequence[Member]], rows: Rows, loss: Loss) -> Fitted:
    """Join the members of all kinds, each kind with the share that its unseen rows vote for."""
    scored = [_mean_unseen_scores(members, len(rows)) for members in families]
    is_judged = scored[0][1]
    raws, target = [raw[:, is_judged] for raw, _ in scored], rows.loss_target[is_judged]
    weight = rows.loss_weight[is_judged] if len(rows.loss_weight) else rows.loss_weight
    shares = mixture(raws, target, weight, loss)
    kept = [(m, share) for members, share in zip(families, shares, strict=True) if share > 0 for m in members]
    trees = [_shrunk(tree, share) for member, share in kept for tree in member.trees]
    sizes = tuple(len(member.trees) for member, _ in kept)
    return Fitted(trees, np.zeros(0), np.tensordot(shares, raws, axes=1), target, weight, sizes)


def _fit_member(kind: Kind, m: int, stopping: Stopping, units: np.ndarray, strata: np.ndarray) -> Member:
    rows, plan = kind.rows, kind.plan
    seed = int(np.random.SeedSequence([plan.seed, m]).generate_state(1)[0])
    rng = np.random.default_rng(seed)
    is_unseen = stratified_share(strata, 1.0 - MEMBER_SHARE, rng)[units]
    seen, unseen = np.flatnonzero(~is_unseen), np.flatnonzero(is_unseen)
    own_units = np.unique(units[seen], return_inverse=True)[1].astype(np.int64)
    fit = fit_trees(rows.take(seen), replace(plan, seed=seed), stopping, own_units, rng, kind.held)
    return Member(fit.trees, unseen, scores_of(fit.trees, rows.take(unseen), plan))


def _mean_unseen_scores(members: Sequence[Member], n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's mean raw score over the members that never saw it, and which rows have one."""
    total, count = np.zeros((len(members[0].raw), n_rows)), np.zeros(n_rows, dtype=np.int64)
    for member in members:
        total[:, member.unseen] += member.raw
        count[member.unseen] += 1
    return total / np.maximum(count, 1), count > 0


def _shrunk(tree: np.ndarray, share: float) -> np.ndarray:
    """Scale a member's tree to its part of the mean: its kind's share, divided by the members of a kind."""
    shrunk = tree.copy()
    for field in ("value", "term_slopes"):
        shrunk[field] *= share
        shrunk[field] /= N_MEMBERS
    return shrunk
