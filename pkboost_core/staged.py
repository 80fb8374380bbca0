"""Raw scores after each round of boosting."""

from collections.abc import Iterator, Sequence

import numpy as np

from pkboost_core.binning import Binning
from pkboost_core.compiled import as_records
from pkboost_core.ensemble import Ensemble
from pkboost_core.predictor import add_trees, positions_of


def staged_raw_scores(
    ensemble: Ensemble, X: np.ndarray, member_sizes: Sequence[int] = ()
) -> Iterator[np.ndarray]:
    """Yield the raw scores after each round, float64 (n_rows, n_outputs), a fresh array each time.

    A round is one tree per output. Of a bag, whose members hold `member_sizes` trees one after another, it is
    a round of every member that has one left; the last scores are the model's.
    """
    binning = Binning(ensemble.bin_thresholds, ensemble.is_categorical)
    positions = positions_of(ensemble)
    codes, n_bins, nodes = binning.transform(ensemble.widened(X)), binning.n_bins, as_records(ensemble.nodes)
    out, n_outputs = np.tile(ensemble.base_score, (len(X), 1)), ensemble.n_outputs
    sizes = np.array(member_sizes or [ensemble.n_trees])
    firsts = np.cumsum(sizes) - sizes
    for done in range(0, int(sizes.max(initial=0)), n_outputs):
        for first in firsts[sizes > done] + done:
            add_trees(
                codes, n_bins, positions, nodes, ensemble.tree_offsets[first : first + n_outputs + 1], out
            )
        yield out.copy()
