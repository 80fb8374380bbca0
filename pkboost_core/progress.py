"""What a fit tells while it runs: a line every so many rounds, and the caller's callbacks."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Progress:
    """Called after every round with the rounds so far and the held-out loss, NaN where no row is held out.

    Attributes
    ----------
    every : rounds between two lines on standard error; 0 prints none
    label : name of the loss
    callbacks : called as `callback(n_rounds, held_out_loss)`; any that returns true stops
    place : the part of a fit that this is, such as "member 2 of 5, fold 1 of 5"
    """

    every: int = 0
    label: str = ""
    callbacks: Sequence[Callable[[int, float], Any]] = ()
    place: str = ""

    def __call__(self, n_rounds: int, held_out_loss: float) -> bool:
        """Print a line if one is due and call back; True stops the fit."""
        if self.every and n_rounds % self.every == 0:
            start = f"{self.place}: " if self.place else ""
            known = "" if math.isnan(held_out_loss) else f", held-out {self.label} {held_out_loss:.6f}"
            print(f"{start}{n_rounds} trees{known}", file=sys.stderr, flush=True)
        answers = [callback(n_rounds, held_out_loss) for callback in self.callbacks]
        return any(answers)

    def within(self, part: str) -> "Progress":
        """Return the progress of a part, named after what it is a part of."""
        return replace(self, place=f"{self.place}, {part}" if self.place else part)

    def without_callbacks(self) -> "Progress":
        """Return one that prints alone: folds only tell how many trees to grow."""
        return replace(self, callbacks=())


SILENT = Progress()
"""Says nothing and never stops."""
