"""What becomes of a lead: converted, lost, deleted, merged into another, or still open."""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from simulator.population import Leads
from simulator.seasons import to_seconds

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

DUPLICATE_SHARE = 0.02
DUPLICATE_REACH = 40
MERGE_TYPICAL_DAYS = 12.0
DELETION_SHARE = 0.012
DELETION_TYPICAL_DAYS = 40.0
MINUTE = 1.0 / 1440.0
# What a copy of a person brings of its own: everything else is the person's.
_OWN = {"number", "created", "source", "campaign", "owner"}


@dataclass(frozen=True)
class Fate:
    """Per lead, times in days since the start; infinity means never.

    `outcome_at` holds the outcome the lead would have without removal, `removed_at` a deletion or merge
    before it, `closed_at` the earlier one. `master` is the position in the block of the lead it was merged
    into, or -1.
    """

    converts: BoolArray
    outcome_at: FloatArray
    removed_at: FloatArray
    closed_at: FloatArray
    master: IntArray

    @property
    def has_outcome(self) -> BoolArray:
        """Leads whose outcome the CRM will see, some of it after the clock."""
        return np.isfinite(self.outcome_at) & (self.outcome_at < self.removed_at)


def with_duplicates(rng: np.random.Generator, leads: Leads) -> tuple[Leads, IntArray]:
    """Turn some leads into second records of an earlier person; the position of the first record, or -1."""
    n = len(leads)
    position = np.arange(n)
    first = position - rng.integers(1, DUPLICATE_REACH, n)
    chosen = (rng.random(n) < DUPLICATE_SHARE) & (first >= 0)
    first = np.where(chosen, first, -1)
    # A first record is never a copy itself, so that merges have one step.
    first = np.where(chosen & (first[first] < 0), first, -1)
    origin = np.where(first >= 0, first, position)
    copied = {
        f.name: getattr(leads, f.name)[origin] for f in fields(leads) if f.name not in _OWN | {"hidden"}
    }
    hidden = replace(
        leads.hidden, **{f.name: getattr(leads.hidden, f.name)[origin] for f in fields(leads.hidden)}
    )
    return replace(leads, **copied, hidden=hidden), first


def draw_fate(rng: np.random.Generator, leads: Leads, first: IntArray) -> Fate:
    """Draw outcomes from the hidden parameters, then removals that strike leads still open."""
    n, hidden = len(leads), leads.hidden
    converts = rng.random(n) < hidden.p_convert
    delay = rng.lognormal(hidden.delay_mu, hidden.delay_sigma)
    loss = np.where(
        rng.random(n) < hidden.never_lost, np.inf, rng.lognormal(hidden.loss_mu, hidden.loss_sigma)
    )
    outcome_at = leads.created + np.maximum(np.where(converts, delay, loss), MINUTE)
    outcome_at = np.where(np.isfinite(outcome_at), to_seconds(np.minimum(outcome_at, 1e6)), np.inf)
    removed_at, master = _removals(rng, leads, first, outcome_at)
    return Fate(converts, outcome_at, removed_at, np.minimum(outcome_at, removed_at), master)


def _removals(
    rng: np.random.Generator, leads: Leads, first: IntArray, outcome_at: FloatArray
) -> tuple[FloatArray, IntArray]:
    """Deletions, and merges of second records whose first record is still open too."""
    n = len(leads)
    deleted_at = np.where(
        rng.random(n) < DELETION_SHARE,
        leads.created + rng.exponential(DELETION_TYPICAL_DAYS, n) + MINUTE,
        np.inf,
    )
    deleted_at = np.where(deleted_at < outcome_at, deleted_at, np.inf)
    merged_at = leads.created + rng.exponential(MERGE_TYPICAL_DAYS, n) + MINUTE
    first_closed = np.minimum(outcome_at, deleted_at)[first]
    merges = (first >= 0) & (merged_at < np.minimum(outcome_at, deleted_at)) & (merged_at < first_closed)
    removed_at = np.where(merges, merged_at, deleted_at)
    removed_at = np.where(np.isfinite(removed_at), to_seconds(np.minimum(removed_at, 1e6)), np.inf)
    return removed_at, np.where(merges, first, -1)
