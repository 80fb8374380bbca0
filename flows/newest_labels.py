"""Two models on the newest quarter, by the wins known tonight: does the new one follow what the labels say?

The challenger may have learnt some of these labels, so this cannot prove it better. It tells a model that
moved because the world did from one that moved for no reason to be seen. That the labels themselves are sound
is for the checks of the data (`flows.data_facts`, T1).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from flows.artefact_checks import segments_of
from flows.dataset import History
from flows.lead_model import LeadModel
from flows.open_cohorts import week_of

WEEKS = 13
MIN_AGE_DAYS = 7
_PRIOR_WINS = 0.5


@dataclass(frozen=True)
class NewestLabels:
    """How the models' forecasts of "won by now" compare with the wins; JSON-able.

    Attributes
    ----------
    losses : mean log-loss of champion and challenger over all rows.
    levels : segment -> (wins, wins that the champion forecasts, wins that the challenger forecasts).
    """

    rows: int
    losses: tuple[float, float]
    levels: Mapping[str, tuple[float, float, float]]

    @property
    def fits_better(self) -> bool:
        """Whether the challenger's loss is no greater than the champion's."""
        return self.losses[1] <= self.losses[0]

    def follows(self, segment: str) -> bool:
        """Whether the challenger's number of wins in a segment is nearer to the truth than the champion's."""
        if segment not in self.levels:
            return False
        wins, old, new = np.log(np.array(self.levels[segment]) + _PRIOR_WINS)
        return bool(abs(new - wins) < abs(old - wins))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


def newest_labels(history: History, champion: LeadModel, challenger: LeadModel) -> NewestLabels | None:
    """Score two models on the snapshots of the last 13 weeks.

    None without a delay curve, without rows, or where the champion cannot score the history.

    Parameters
    ----------
    history : of tonight; each row is judged at its age, by the share of wins that is known by then.
    """
    labels, today = history.labels, history.as_of
    curve, elapsed = labels.delay_curve(today), labels.elapsed(today)
    young = (elapsed >= MIN_AGE_DAYS) & (elapsed <= 7 * WEEKS) & ~labels.is_void(today)
    frame, rows, chosen = history.take(young)
    if curve is None or not frame.height or not champion.can_score(frame):
        return None
    y = rows.is_won(today).astype(np.float64)
    seen = np.where(rows.is_mature(today), 1.0, curve(elapsed[chosen], rows.segments))
    forecasts = [model.probabilities(frame) * seen for model in (champion, challenger)]
    inside = {"all": np.ones(len(y), dtype=bool)} | segments_of(frame)
    levels = {
        name: (float(y[of].sum()), float(forecasts[0][of].sum()), float(forecasts[1][of].sum()))
        for name, of in inside.items()
    }
    return NewestLabels(len(y), week_of(today, y, forecasts).losses, levels)
