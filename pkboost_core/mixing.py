"""How much each of several models counts in their mean: votes, cast where the held-out loss falls most.

Forward selection with replacement (Caruana, Niculescu-Mizil, Crew, Ksikes 2004, "Ensemble selection from
libraries of models"): it needs nothing of the loss but its value, never extrapolates, and leaves out
what does not help.
"""

from collections.abc import Sequence

import numpy as np

from pkboost_core.loss import Loss

N_VOTES = 8
"""Votes: weights are eighths, too coarse to follow the noise of the held-out rows."""


def mixture(raws: Sequence[np.ndarray], target: np.ndarray, weight: np.ndarray, loss: Loss) -> np.ndarray:
    """Return the weights of models in the mean of their raw scores, float64 (n_models,), sum 1.

    Parameters
    ----------
    raws : float64 (n_outputs, n) of each model, of rows that it was not trained on
    target, weight : float32 (n,), of these rows; an empty `weight` stands for ones

    Of equally good models the earlier gets the vote; without rows to judge by all count alike.
    """
    if len(raws) == 1 or not len(target) or (len(weight) and not weight.any()):
        return np.full(len(raws), 1.0 / len(raws))
    boosted = [(raw - loss.shift) / loss.factor for raw in raws]
    votes, total = np.zeros(len(raws)), np.zeros_like(boosted[0])
    for n_votes in range(1, N_VOTES + 1):
        losses = [loss.mean((total + raw) / n_votes, target, weight) for raw in boosted]
        winner = int(np.argmin(losses))
        votes[winner] += 1.0
        total += boosted[winner]
    return votes / N_VOTES
