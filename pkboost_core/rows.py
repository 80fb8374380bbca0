"""The rows that trees are grown on: bin codes, targets and weights."""

from dataclasses import dataclass

import numpy as np

from pkboost_core.binning import Binning


@dataclass(frozen=True)
class Rows:
    """Binned rows with their targets.

    Attributes
    ----------
    codes : uint8 (n_groups, n, 8), bin codes as `Binning.transform` returns them
    target : float32 (n,), in [0, 1]
    weight : float32 (n,), weight of a row in the loss that is boosted; empty for ones
    loss_weight, loss_target : the same without `scale_pos_weight`, for the loss that is reported
    """

    codes: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    loss_target: np.ndarray
    loss_weight: np.ndarray

    def __len__(self) -> int:
        return len(self.target)

    def take(self, index: np.ndarray) -> "Rows":
        """Copy some of the rows."""
        weight = self.weight[index] if len(self.weight) else self.weight
        loss_weight = self.loss_weight[index] if len(self.loss_weight) else self.loss_weight
        codes = np.ascontiguousarray(self.codes[:, index])
        return Rows(codes, self.target[index], weight, self.loss_target[index], loss_weight)


def make_rows(
    binning: Binning,
    values: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    pos_weight: float,
    n_threads: int = 1,
) -> Rows:
    """Bin a matrix and join it with targets and weights, positives weighted by `pos_weight` for boosting."""
    loss_target = target.astype(np.float32)
    loss_weight = np.zeros(0, np.float32) if weight is None else weight.astype(np.float32)
    boost_target, boost_weight = loss_target, loss_weight
    if pos_weight != 1.0:
        factor = 1.0 - target + pos_weight * target
        boost_target = (pos_weight * target / factor).astype(np.float32)
        boost_weight = (factor if weight is None else factor * weight).astype(np.float32)
    return Rows(binning.transform(values, n_threads), boost_target, boost_weight, loss_target, loss_weight)
