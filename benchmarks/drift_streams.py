"""Real sets as streams: rows in order of time, labels that come late, blocks of rows scored one by one.

The bank's rows are dates; Olist's leads have theirs. Their label is a win within sixty days, believed when
the sixty days are over, for wins and others alike: taken in order of arrival, wins would come first and teach
too high a rate. Elec2 and weather are the classics of the field and have no delay; their dummy repeats the
last label.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from datasets import Dataset, bank_full, data_dir, elec2, noaa_weather, olist

from pkboost_core import PKBoostClassifier
from pkboost_core.metrics import average_precision, log_loss

N_BLOCKS, QUICK_BLOCKS = 40, 12
BURN_IN_SHARE = 0.2
MIN_KNOWN = 50
SLIDING_BLOCKS = 8
HORIZON_DAYS = 60.0

Probabilities = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Stream:
    """Rows in order of time.

    Attributes
    ----------
    day : float64 (n,), when a row is scored.
    known : float64 (n,), when its label is.
    """

    data: Dataset
    day: np.ndarray
    known: np.ndarray

    @property
    def has_delay(self) -> bool:
        """Whether labels come later than their rows."""
        return bool((self.known > self.day).any())


def run_streams(is_quick: bool) -> list[dict[str, Any]]:
    """Run every policy on every set that is there."""
    found: list[dict[str, Any]] = []
    for load in (_bank, _olist, _elec2, _weather):
        try:
            stream = load()
        except FileNotFoundError as error:
            print(f"skipped: {error.filename} is not there (set LEADSCORE_DATA_DIR)", flush=True)
            continue
        found += _run(stream, QUICK_BLOCKS if is_quick else N_BLOCKS)
        if is_quick:
            break
    return found


def _bank() -> Stream:
    """Rows are dates, May 2008 to November 2010."""
    data = bank_full()
    day = np.linspace(0.0, 913.0, len(data.y))
    return Stream(data, day, day + HORIZON_DAYS)


def _olist() -> Stream:
    """A lead that was won later than sixty days after its first contact counts as not won."""
    leads = _olist_leads()
    start = leads["first_contact_date"].min()
    day = (leads["first_contact_date"] - start).dt.total_days().cast(pl.Float64).to_numpy()
    y = (leads["delay"] < HORIZON_DAYS).fill_null(False).cast(pl.Float64).to_numpy()
    return Stream(replace(olist(), y=y), day, day + HORIZON_DAYS)


def _elec2() -> Stream:
    return _instant(elec2())


def _weather() -> Stream:
    return _instant(noaa_weather())


def _instant(data: Dataset) -> Stream:
    day = np.arange(len(data.y), dtype=np.float64)
    return Stream(data, day, day)


def _olist_leads() -> pl.DataFrame:
    folder = data_dir() / "olist"
    files = ("olist_marketing_qualified_leads_dataset.csv", "olist_closed_deals_dataset.csv")
    for name in files:
        if not (folder / name).exists():
            raise FileNotFoundError(2, "no such data set", str(folder / name))
    leads = pl.read_csv(folder / files[0], try_parse_dates=True)
    deals = pl.read_csv(folder / files[1], try_parse_dates=True).select("mql_id", "won_date")
    won = pl.col("won_date").cast(pl.Date)
    days = (won - pl.col("first_contact_date")).dt.total_days().cast(pl.Float64)
    joined = leads.join(deals, on="mql_id", how="left").sort("first_contact_date", "mql_id")
    return joined.with_columns(delay=days)


def _run(stream: Stream, n_blocks: int) -> list[dict[str, Any]]:
    policies: dict[str, Callable[[Stream, list[np.ndarray]], Iterator[np.ndarray]]] = {
        "LightGBM static": _policy(_lightgbm, static=True),
        "LightGBM each block, expanding": _policy(_lightgbm),
        "LightGBM each block, sliding": _policy(_lightgbm, window=SLIDING_BLOCKS),
        "PKBoost static": _policy(_pkboost, static=True),
        "PKBoost each block, expanding": _policy(_pkboost),
        "PKBoost repaired each block": _repaired,
    }
    if stream.has_delay:
        policies["oracle without delay"] = _policy(_pkboost, is_oracle=True)
    else:
        policies["dummy: the last label"] = _no_change
    first = _first_row(stream)
    blocks = [block for block in np.array_split(np.arange(first, len(stream.day)), n_blocks) if len(block)]
    rows = [_measured(stream, blocks, name, policy) for name, policy in policies.items()]
    best = {row["policy"]: row["average_precision"] for row in rows}
    oracle = best.get("oracle without delay", max(best.values()))
    return [row | {"share_of_oracle": row["average_precision"] / oracle} for row in rows]


def _first_row(stream: Stream) -> int:
    """Return the row that scoring begins with: after the burn-in, once enough of both labels are known."""
    wins = np.sort(stream.known[stream.data.y > 0])[MIN_KNOWN]
    losses = np.sort(stream.known[stream.data.y == 0])[MIN_KNOWN]
    enough = int(np.searchsorted(stream.day, max(wins, losses), side="right"))
    return max(int(BURN_IN_SHARE * len(stream.day)), enough)


def _measured(stream: Stream, blocks: list[np.ndarray], name: str, policy: Any) -> dict[str, Any]:
    started = time.process_time()
    p = np.clip(np.concatenate(list(policy(stream, blocks))), 1e-6, 1 - 1e-6)
    y = stream.data.y[np.concatenate(blocks)]
    return {
        "name": stream.data.name,
        "policy": name,
        "average_precision": average_precision(y, p),
        "log_loss": log_loss(y, p),
        "accuracy": float(np.mean((p > 0.5) == (y > 0.5))),
        "cpu_seconds": time.process_time() - started,
    }


def _policy(fit: Any, *, static: bool = False, window: int | None = None, is_oracle: bool = False) -> Any:
    def run(stream: Stream, blocks: list[np.ndarray]) -> Iterator[np.ndarray]:
        model: Probabilities | None = None
        for block in blocks:
            if model is None or not static:
                rows = _known(stream, block[0], is_oracle)
                rows = rows if window is None else _newest(stream, rows, window * len(block))
                model = fit(stream.data, rows)
            yield model(stream.data.X[block])

    return run


def _known(stream: Stream, first: int, is_oracle: bool = False) -> np.ndarray:
    """Rows before a block whose label is known when the block begins; all of them for the oracle."""
    rows = np.arange(first)
    return rows if is_oracle else rows[stream.known[:first] <= stream.day[first]]


def _newest(stream: Stream, rows: np.ndarray, size: int) -> np.ndarray:
    """Return the newest rows, or all where those hold one label only."""
    newest = rows[-size:]
    return newest if 0 < stream.data.y[newest].sum() < len(newest) else rows


def _repaired(stream: Stream, blocks: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Fit once, then adapt to the rows whose label came since the model last changed."""
    known = _known(stream, blocks[0][0])
    model = _classifier(stream.data).fit(stream.data.X[known], stream.data.y[known])
    seen = set(known.tolist())
    for block in blocks:
        fresh = np.array(
            [row for row in _known(stream, block[0]).tolist() if row not in seen], dtype=np.int64
        )
        try:
            found = model.adapt(stream.data.X[fresh], stream.data.y[fresh]) if len(fresh) else None
        except ValueError:  # too few rows of a class yet
            found = None
        if found is not None and found.is_accepted:
            model = found.model
            seen.update(fresh.tolist())
        yield model.predict_proba(stream.data.X[block])[:, 1]


def _no_change(stream: Stream, blocks: list[np.ndarray]) -> Iterator[np.ndarray]:
    for block in blocks:
        yield np.where(stream.data.y[block - 1] > 0.5, 0.9, 0.1)


def _classifier(data: Dataset) -> PKBoostClassifier:
    return PKBoostClassifier(categorical_features=list(data.categorical), random_state=0)


def _pkboost(data: Dataset, rows: np.ndarray) -> Probabilities:
    model = _classifier(data).fit(data.X[rows], data.y[rows])
    return lambda X: model.predict_proba(X)[:, 1]


def _lightgbm(data: Dataset, rows: np.ndarray) -> Probabilities:
    import lightgbm as lgb

    options = {"objective": "binary", "num_threads": 1, "verbose": -1, "seed": 0, "force_col_wise": True}
    train = lgb.Dataset(data.X[rows], data.y[rows], categorical_feature=list(data.categorical))
    return lgb.train(options, train, 100).predict
