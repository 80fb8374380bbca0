"""Champion and challenger side by side on today's open leads: may sales be shown this list tomorrow?"""

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

MIN_LEADS = 30
"""Fewer leads than this, in all or in a segment, are not compared."""
TOP_SHARE = 0.1
MAX_LEVELS = 12

LEAST_TOP_OVERLAP = 0.3
MOST_SEGMENT_SHIFT = 0.7
MOST_PROVEN_SHIFT = 1.4
"""Where the labels prove the challenger better, its levels may follow them this far."""
MOST_SPREAD_RATIO = 3.0
_FLOOR = 1e-6


@dataclass(frozen=True)
class Shift:
    """How a challenger differs from the champion on the same leads; JSON-able.

    Attributes
    ----------
    top_overlap : share of the champion's best tenth that is also the challenger's; chance alone gives 0.1.
    segment, segment_shift : where the level moved most, the logit of the mean probability, and by how much;
        "all" is every lead. A mean of logits would follow the hopeless leads, where fits differ by luck.
    far : every segment that moved by more than `MOST_SEGMENT_SHIFT`, and by how much.
    spread_ratio : standard deviation of the challenger's logits over the champion's.
    """

    leads: int
    top_overlap: float
    segment: str
    segment_shift: float
    spread_ratio: float
    far: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


def shift(champion: np.ndarray, challenger: np.ndarray, segments: Mapping[str, np.ndarray]) -> Shift | None:
    """Measure how far a challenger moves today's open leads; None for fewer than `MIN_LEADS` of them.

    Parameters
    ----------
    champion, challenger : float64 (n,), probabilities of the same leads.
    segments : name -> bool (n,), the leads in it.
    """
    if len(champion) < MIN_LEADS:
        return None
    old, new = _logits(champion), _logits(challenger)
    inside = {"all": np.ones(len(old), dtype=bool)} | {
        name: rows for name, rows in segments.items() if rows.sum() >= MIN_LEADS
    }
    moved = {
        name: float(_logits(challenger[rows].mean()) - _logits(champion[rows].mean()))
        for name, rows in inside.items()
    }
    furthest = max(moved, key=lambda name: abs(moved[name]))
    spread = float(new.std() / old.std()) if old.std() > 0 else math.inf if new.std() > 0 else 1.0
    far = {name: by for name, by in moved.items() if not abs(by) <= MOST_SEGMENT_SHIFT}
    return Shift(len(old), top_overlap(old, new), furthest, moved[furthest], min(spread, 1e6), far)


def problems(found: Shift, *, is_proven: bool, followed: Collection[str] = ()) -> list[str]:
    """Say in words what sales could not be shown.

    Parameters
    ----------
    is_proven : whether the lower bound of the challenger's gain on mature labels is above 0.
    followed : segments in which the newest labels say that the challenger is nearer to the truth; there it
        may move as far as they ask.
    """
    most, said = MOST_PROVEN_SHIFT if is_proven else MOST_SEGMENT_SHIFT, []
    if found.top_overlap < LEAST_TOP_OVERLAP:
        said.append(f"only {found.top_overlap:.0%} of the champion's best tenth are in the new one's")
    said += [
        f"leads of segment {name} move by {by:+.2f} logit, more than {most}, unasked for by the newest labels"
        for name, by in found.far.items()
        if name not in followed and not abs(by) <= most
    ]
    if not 1 / MOST_SPREAD_RATIO <= found.spread_ratio <= MOST_SPREAD_RATIO:
        said.append(f"probabilities spread {found.spread_ratio:.2f} times as wide as the champion's")
    return said


def segments_of(open_leads: pl.DataFrame) -> dict[str, np.ndarray]:
    """Segments by the levels of the lead's own text columns, as `column=level`; rare ones left out."""
    found = {}
    for name, dtype in open_leads.schema.items():
        if not name.startswith("lead_") or name == "lead_id" or dtype not in (pl.String, pl.Categorical):
            continue
        counts = open_leads[name].drop_nulls().value_counts(sort=True).head(MAX_LEVELS)
        for level, n in counts.iter_rows():
            if n >= MIN_LEADS:
                found[f"{name}={level}"] = (open_leads[name] == level).fill_null(False).to_numpy()
    return found


def _logits(p: ArrayLike) -> np.ndarray:
    clipped = np.clip(p, _FLOOR, 1 - _FLOOR)
    return np.asarray(np.log(clipped / (1 - clipped)))


def top_overlap(old: np.ndarray, new: np.ndarray) -> float:
    """Return the share of the best tenth by `old` that is also among the best by `new`; ties belong to it."""
    k = max(int(TOP_SHARE * len(old)), 1)
    old_top, new_top = (p >= np.partition(p, -k)[-k] for p in (old, new))
    return float((old_top & new_top).sum() / min(old_top.sum(), new_top.sum()))
