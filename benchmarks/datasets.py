"""The benchmark suite: real sets from LEADSCORE_DATA_DIR and generated rare-event sets, ready as matrices.

Columns that leak the label are dropped here, once, and named with the reason. Text columns become category
codes (alphabetical, so equal files give equal codes); words for "unknown" become missing. Sets whose rows
have an order in time are split in time: the training window grows with the seed, the test block follows it.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parent.parent
MISSING_WORDS = ("", "?", "Select", "NA")
MAX_TRAIN_ROWS = 10_000
MAX_TEST_ROWS = 20_000


@dataclass(frozen=True)
class Dataset:
    """A binary task.

    Attributes
    ----------
    X : float64 (n, k), NaN = missing, categories as codes
    y : float64 (n,), 0 or 1
    categorical : indices of columns that hold codes
    is_time_ordered : whether rows are in order of time, oldest first
    """

    name: str
    X: np.ndarray
    y: np.ndarray
    names: tuple[str, ...]
    categorical: tuple[int, ...]
    is_time_ordered: bool


def data_dir() -> Path:
    """Folder of the real sets: LEADSCORE_DATA_DIR, or ../shared/data beside the project."""
    return Path(os.environ.get("LEADSCORE_DATA_DIR", ROOT.parent / "shared" / "data"))


def from_frame(
    name: str, frame: pl.DataFrame, target: pl.Expr, drop: tuple[str, ...], ordered: bool = False
) -> Dataset:
    """Turn a frame into a matrix: text to codes, two-valued text to 0/1, constant columns out."""
    frame = frame.filter(target.is_not_null())
    y = frame.select(target.cast(pl.Float64)).to_series().to_numpy()
    columns, names, categorical = [], [], []
    for column in frame.drop(drop).iter_columns():
        if column.dtype == pl.String:
            text = column.str.strip_chars()
            column = text.set(text.is_in(MISSING_WORDS), None).rename(column.name)
            numbers = column.cast(pl.Float64, strict=False)
            column = numbers if numbers.null_count() == column.null_count() else column
        if column.drop_nulls().n_unique() + (column.null_count() > 0) < 2:
            continue
        if column.dtype == pl.String:
            levels = column.drop_nulls().unique().sort()
            column = column.replace_strict(
                levels, np.arange(len(levels)), return_dtype=pl.Float64, default=None
            )
            if len(levels) > 2:
                categorical.append(len(columns))
        columns.append(column.cast(pl.Float64).fill_null(np.nan).to_numpy())
        names.append(column.name)
    return Dataset(name, np.column_stack(columns), y, tuple(names), tuple(categorical), ordered)


def split(data: Dataset, seed: int, max_train: int = MAX_TRAIN_ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Return row indices for training and testing.

    Random sets: a stratified 30 % is tested. Ordered sets: the first 50 + 7 * (seed mod 5) percent train, the
    15 percent that follow are tested. At most `max_train` rows train and 20,000 test, thinned at random.
    """
    n, rng = len(data.y), np.random.default_rng(1000 + seed)
    if data.is_time_ordered:
        cut = int(n * (0.50 + 0.07 * (seed % 5)))
        train, test = np.arange(cut), np.arange(cut, min(n, cut + int(0.15 * n)))
    else:
        order = np.lexsort((rng.random(n), data.y))
        is_test = np.zeros(n, bool)
        for label in (0, 1):
            rows = order[data.y[order] == label]
            is_test[rows[: round(0.3 * len(rows))]] = True
        train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    return _thin(train, max_train, rng), _thin(test, MAX_TEST_ROWS, rng)


def _thin(rows: np.ndarray, limit: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= limit else np.sort(rng.choice(rows, limit, replace=False))


@cache
def load(name: str) -> Dataset:
    """Return a data set, read once a process.

    Raises
    ------
    FileNotFoundError
        Its file is not there.
    """
    return LOADERS[name]()


def suite(names: tuple[str, ...] = ()) -> Iterator[Dataset]:
    """Yield the data sets that can be loaded, real ones first; `names` chooses among them."""
    for name in LOADERS:
        if not names or name in names:
            try:
                yield load(name)
            except FileNotFoundError as error:
                print(f"skipped {name}: {error.filename} is not there (set LEADSCORE_DATA_DIR)", flush=True)


def _csv(path: str, **options: object) -> pl.DataFrame:
    file = data_dir() / path
    if not file.exists():
        raise FileNotFoundError(2, "no such data set", str(file))
    return pl.read_csv(file, infer_schema_length=None, **options)  # type: ignore[arg-type]


def _is(column: str, value: object) -> pl.Expr:
    return pl.col(column) == pl.lit(value)


def xeducation() -> Dataset:
    """Leads of an online school; the lead number rises with time. Dropped: fields filled in after contact."""
    late = ("Tags", "Lead Quality", "Lead Profile", "Last Activity", "Last Notable Activity")
    scores = tuple(
        f"Asymmetrique {kind} {what}" for kind in ("Activity", "Profile") for what in ("Index", "Score")
    )
    frame = _csv("xeducation/Leads.csv").sort("Lead Number")
    drop = ("Prospect ID", "Lead Number", "Converted", *late, *scores)
    return from_frame("xeducation", frame, pl.col("Converted"), drop, ordered=True)


def olist() -> Dataset:
    """Leads of a marketplace; a closed deal is a conversion."""
    leads = _csv("olist/olist_marketing_qualified_leads_dataset.csv", try_parse_dates=True)
    won = _csv("olist/olist_closed_deals_dataset.csv")["mql_id"]
    frame = leads.sort("first_contact_date", "mql_id").with_columns(
        weekday=pl.col("first_contact_date").dt.weekday(), won=pl.col("mql_id").is_in(won.implode())
    )
    return from_frame("olist", frame, pl.col("won"), ("mql_id", "first_contact_date", "won"), ordered=True)


def bank_time() -> Dataset:
    """Phone campaigns of a bank in order of time. Dropped: call duration (known afterwards)."""
    frame = _csv("bank_marketing/bank-additional-full.csv", separator=";")
    return from_frame("bank_time", frame, _is("y", "yes"), ("duration", "y"), ordered=True)


def bank_full() -> Dataset:
    """The older file of the same bank, split at random. Dropped: call duration."""
    frame = _csv("bank_marketing/bank-full.csv", separator=";")
    return from_frame("bank_full", frame, _is("y", "yes"), ("duration", "y"))


def online_shoppers() -> Dataset:
    """Shop visits in order of time. Dropped: PageValues (holds the purchase)."""
    frame = _csv("online_shoppers/online_shoppers_intention.csv")
    return from_frame("online_shoppers", frame, _is("Revenue", 1), ("PageValues", "Revenue"), ordered=True)


def hillstrom_visit() -> Dataset:
    """Randomised mailing: who visits the shop."""
    return _hillstrom("visit")


def hillstrom_conversion() -> Dataset:
    """Randomised mailing: who buys (.9 %)."""
    return _hillstrom("conversion")


def _hillstrom(target: str) -> Dataset:
    frame = _csv("hillstrom/hillstrom.csv")
    return from_frame(f"hillstrom_{target}", frame, pl.col(target), ("visit", "conversion", "spend"))


def coil2000() -> Dataset:
    """Who buys a caravan insurance (6 %)."""
    return from_frame("coil2000", _csv("coil2000/Caravan.csv"), _is("Purchase", "Yes"), ("Purchase",))


def elec2() -> Dataset:
    """Electricity price up or down, half-hours in order."""
    return from_frame("elec2", _csv("elec2/elec.csv"), pl.col("target"), ("target",), ordered=True)


def noaa_weather() -> Dataset:
    """Rain or none, days in order."""
    return from_frame(
        "noaa_weather", _csv("noaa_weather/weather.csv"), pl.col("target"), ("target",), ordered=True
    )


def adult() -> Dataset:
    """Income above 50,000. Dropped: the census weight."""
    parts = [_csv(f"adult/adult-{part}.csv", has_header=False) for part in ("train", "test")]
    frame = pl.concat(parts, how="vertical_relaxed")
    above = pl.col("column_14").str.strip_chars().str.starts_with(">")
    return from_frame("adult", frame, above, ("column_2", "column_14"))


def churn() -> Dataset:
    """Customers leaving a telephone company."""
    return from_frame("churn", _parquet("mlc_churn"), _is("churn", "yes"), ("churn",))


def credit() -> Dataset:
    """Loans that went bad."""
    return from_frame("credit", _parquet("credit_data"), _is("Status", "bad"), ("Status",))


def _parquet(name: str) -> pl.DataFrame:
    file = data_dir() / "churn_credit" / f"{name}.parquet"
    if not file.exists():
        raise FileNotFoundError(2, "no such data set", str(file))
    return pl.read_parquet(file)


def salvirt() -> Dataset:
    """B2B deals of one seller, won or lost."""
    frame = _csv("salvirt_b2b/Salvirt_B2B_ML_dataset.csv", separator=";")
    return from_frame("salvirt", frame, _is("Status", "Won"), ("Status",))


def _small(name: str, file: str, positive: object) -> Callable[[], Dataset]:
    def load() -> Dataset:
        frame = _csv(f"small/{file}", has_header=False)
        last = frame.columns[-1]
        return from_frame(
            name, frame, pl.col(last).cast(pl.String).str.strip_chars("' ") == str(positive), (last,)
        )

    return load


def generated(share: float, n: int, seed: int = 0) -> Callable[[], Dataset]:
    """Return a maker of a rare-event set: 30 columns, half informative; steps, interactions, noise."""

    def load() -> Dataset:
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n, 30))
        X[:, 12:18] = 0.7 * X[:, :6] + 0.7 * X[:, 12:18]
        X[:, 6:9] = np.exp(X[:, 6:9])
        X[:, 9:12] = np.round(2 * X[:, 9:12])
        score = X[:, :4] @ [0.8, -0.6, 0.5, 0.4] + 0.9 * X[:, 0] * X[:, 4] + 0.8 * (X[:, 5] > 1)
        score += 0.7 * np.log1p(X[:, 6]) - 0.5 * (X[:, 9] > 1) * (X[:, 7] > 1) + 0.6 * np.abs(X[:, 10]) / 2
        score += rng.logistic(size=n) * 0.8
        y = (score > np.quantile(score, 1 - share)).astype(float)
        X[rng.random(X.shape) < 0.03] = np.nan
        return Dataset(f"generated_{share:g}", X, y, tuple(f"x{j}" for j in range(30)), (), False)

    return load


LOADERS: dict[str, Callable[[], Dataset]] = {
    "xeducation": xeducation,
    "olist": olist,
    "bank_time": bank_time,
    "bank_full": bank_full,
    "online_shoppers": online_shoppers,
    "hillstrom_visit": hillstrom_visit,
    "hillstrom_conversion": hillstrom_conversion,
    "coil2000": coil2000,
    "elec2": elec2,
    "noaa_weather": noaa_weather,
    "adult": adult,
    "churn": churn,
    "credit": credit,
    "salvirt": salvirt,
    "mammography": _small("mammography", "mammography.csv", 1),
    "oil_spill": _small("oil_spill", "oil-spill.csv", 1),
    "phoneme": _small("phoneme", "phoneme.csv", 1),
    "pima": _small("pima", "pima-indians-diabetes.csv", 1),
    "german": _small("german", "german.csv", 2),
    "generated_0.1": generated(0.1, 20_000),
    "generated_0.05": generated(0.05, 20_000),
    "generated_0.01": generated(0.01, 28_000),
    "generated_0.002": generated(0.002, 40_000),
}
"""Every set by name. Left out: Smarket and the fictitious CRM of maven (no signal: nothing to rank)."""
