"""Every booster of the comparisons behind one call: fit on a matrix, get a function returning probabilities.

Peers run with the defaults of their libraries unless the name says otherwise. "regularised" means lambda 1,
child hessian 1 and early stopping (patience 50, log-loss on a stratified 20 %); "bag" averages five such
members in log-odds, each stopped on its own 20 % and refitted on all rows with the number of trees it found.
"""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from pkboost_core.booster import PKBoostClassifier

Predict = Callable[[np.ndarray], np.ndarray]
Fit = Callable[[np.ndarray, np.ndarray, tuple[int, ...], int, int], Predict]
"""fit(X, y, categorical, seed, n_threads) -> predict(X) -> probabilities of y = 1."""

MAX_TREES, PATIENCE, N_MEMBERS = 1000, 50, 5


def holdout(y: np.ndarray, seed: int, share: float = 0.2) -> np.ndarray:
    """Mark a stratified random share of rows."""
    rng, held = np.random.default_rng(seed), np.zeros(len(y), bool)
    for label in (0, 1):
        rows = rng.permutation(np.flatnonzero(y == label))
        held[rows[: max(1, round(share * len(rows)))]] = True
    return held


def mean_of(members: list[Predict]) -> Predict:
    """Average probabilities in log-odds."""

    def predict(X: np.ndarray) -> np.ndarray:
        p = np.clip([member(X) for member in members], 1e-12, 1 - 1e-12)
        return 1 / (1 + np.exp(-np.mean(np.log(p) - np.log1p(-p), axis=0)))

    return predict


def pkboost(**params: Any) -> Fit:
    """Return PKBoost with the given parameters over its defaults."""

    def fit(X, y, categorical, seed, n_threads) -> Predict:
        model = PKBoostClassifier(
            categorical_features=list(categorical), random_state=seed, n_threads=n_threads, **params
        ).fit(X, y)
        return lambda Z: model.predict_proba(Z)[:, 1]

    return fit


def lightgbm(stop: bool = False, refit: bool = False, **params: Any) -> Fit:
    """Return LightGBM: plain, or with early stopping, or refitted after it."""

    def fit(X, y, categorical, seed, n_threads) -> Predict:
        import lightgbm as lgb

        options = {"seed": seed, "num_threads": n_threads, "verbose": -1, "deterministic": True, **params}
        options |= {"objective": "binary", "force_col_wise": True}

        def dataset(rows) -> Any:
            return lgb.Dataset(X[rows], y[rows], categorical_feature=list(categorical))

        everything = np.ones(len(y), bool)
        if not stop:
            model = lgb.train(options, dataset(everything), 100)
        else:
            held = holdout(y, seed)
            stopper = lgb.early_stopping(PATIENCE, verbose=False)
            model = lgb.train(options, dataset(~held), MAX_TREES, [dataset(held)], callbacks=[stopper])
            if refit:
                model = lgb.train(options, dataset(everything), max(1, model.best_iteration))
        return model.predict

    return fit


REGULARISED = {"lambda_l2": 1.0, "min_sum_hessian_in_leaf": 1.0}
OUR_RECIPE = REGULARISED | {
    "learning_rate": 0.05,
    "max_depth": 8,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "feature_fraction": 0.7,
}
"""PKBoost's defaults in LightGBM's words: what is left between them is the engine, not the settings."""


def lightgbm_bag(X, y, categorical, seed, n_threads) -> Predict:
    """Five regularised LightGBM members that differ in the rows they stop on and in seed, refitted."""
    member = lightgbm(stop=True, refit=True, bagging_fraction=0.8, bagging_freq=1, **REGULARISED)
    return mean_of([member(X, y, categorical, 100 * seed + m, n_threads) for m in range(N_MEMBERS)])


def xgboost(stop: bool = False, **params: Any) -> Fit:
    """Return XGBoost; categories are numbers to it (codes unseen in training would be refused)."""

    def fit(X, y, categorical, seed, n_threads) -> Predict:
        import xgboost as xgb

        options = {"random_state": seed, "n_jobs": n_threads, **params}
        if stop:
            held = holdout(y, seed)
            options |= {
                "n_estimators": MAX_TREES,
                "early_stopping_rounds": PATIENCE,
                "eval_metric": "logloss",
            }
            model = xgb.XGBClassifier(**options)
            model.fit(X[~held], y[~held], eval_set=[(X[held], y[held])], verbose=False)
        else:
            model = xgb.XGBClassifier(**options).fit(X, y)
        return lambda Z: model.predict_proba(Z)[:, 1]

    return fit


def catboost(stop: bool = False, **params: Any) -> Fit:
    """Return CatBoost, categories as text."""

    def fit(X, y, categorical, seed, n_threads) -> Predict:
        import catboost as cb

        options = {"random_seed": seed, "thread_count": n_threads, "verbose": False, **params}
        options["allow_writing_files"] = False
        model = cb.CatBoostClassifier(**options)
        if stop:
            held = holdout(y, seed)
            train, watch = _pool(X[~held], categorical, y[~held]), _pool(X[held], categorical, y[held])
            model.fit(train, eval_set=watch, early_stopping_rounds=PATIENCE)
        else:
            model.fit(_pool(X, categorical, y))
        return lambda Z: model.predict_proba(_pool(Z, categorical))[:, 1]

    return fit


def _pool(X, categorical, y=None) -> Any:
    import catboost as cb
    import pandas as pd

    frame = pd.DataFrame(X)
    for j in categorical:
        frame[j] = pd.Series(np.where(np.isnan(X[:, j]), -1, X[:, j]).astype(int).astype(str), dtype="object")
    return cb.Pool(frame, y, cat_features=list(categorical))


def hgb(X, y, categorical, seed, n_threads) -> Predict:
    """Histogram boosting of scikit-learn; columns of over 250 categories are numbers to it."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    few = [j for j in categorical if np.nanmax(X[:, j]) < 250]
    model = HistGradientBoostingClassifier(categorical_features=few or None, random_state=seed).fit(X, y)
    return lambda Z: model.predict_proba(Z)[:, 1]


def chimeraboost(X, y, categorical, seed, n_threads) -> Predict:
    """ChimeraBoost with its defaults."""
    from chimeraboost import ChimeraBoostClassifier

    def table(Z) -> Any:
        if not categorical:
            return Z
        out = Z.astype(object)
        for j in categorical:
            out[:, j] = [str(int(v)) if v == v else "missing" for v in Z[:, j]]
        return out

    model = ChimeraBoostClassifier(random_state=seed, thread_count=n_threads, ensemble_n_jobs=1)
    model.fit(table(X), y, cat_features=list(categorical) or None)
    return lambda Z: model.predict_proba(table(Z))[:, 1]


def perpetual(X, y, categorical, seed, n_threads) -> Predict:
    """Perpetual with its default budget."""
    from perpetual import PerpetualBooster

    model = PerpetualBooster(
        objective="LogLoss", num_threads=n_threads, seed=seed, categorical_features=list(categorical) or None
    ).fit(X, y)
    return lambda Z: np.asarray(model.predict_proba(Z))[:, 1]


def logistic(X, y, categorical, seed, n_threads) -> Predict:
    """Logistic regression on standardised numbers and one-hot categories."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numeric = [j for j in range(X.shape[1]) if j not in categorical]
    one_hot = OneHotEncoder(min_frequency=20, handle_unknown="infrequent_if_exist")
    columns = ColumnTransformer(
        [
            ("number", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), numeric),
            (
                "category",
                make_pipeline(SimpleImputer(strategy="constant", fill_value=-1), one_hot),
                list(categorical),
            ),
        ]
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=2000))
    model.fit(X, y)
    return lambda Z: model.predict_proba(Z)[:, 1]


SINGLE: dict[str, Fit] = {
    "PKBoost": pkboost(),
    "LightGBM": lightgbm(),
    "LightGBM regularised": lightgbm(stop=True, **REGULARISED),
    "LightGBM, our recipe": lightgbm(stop=True, refit=True, **OUR_RECIPE),
    "XGBoost": xgboost(),
    "CatBoost": catboost(),
    "HGB": hgb,
    "ChimeraBoost": chimeraboost,
    "Perpetual": perpetual,
    "logistic": logistic,
}
BAGS: dict[str, Fit] = {"PKBoost quality": pkboost(mode="quality"), "LightGBM refit + bag": lightgbm_bag}

COMPILED = {"PKBoost", "PKBoost quality", "ChimeraBoost"}


def warm_up(names: Iterable[str]) -> None:
    """Let models that compile do so, or load what they compiled, so that no fit's seconds hold it."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2_500, 4))
    X[:, 3] = rng.integers(0, 5, len(X))
    known = {**SINGLE, **BAGS}
    for name in {name if name in known else "PKBoost quality" for name in names} & COMPILED:
        for categorical in ((), (3,)):
            quietly(known[name])(X, (X[:, 0] > 1).astype(float), categorical, 0, 1)(X)


def quietly(fit: Fit) -> Fit:
    """Silence the warnings of peers: they would drown the table."""

    def run(X, y, categorical, seed, n_threads) -> Predict:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predict = fit(X, y, categorical, seed, n_threads)

        def silent(Z: np.ndarray) -> np.ndarray:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return np.asarray(predict(Z), dtype=np.float64)

        return silent

    return run
