"""`warmup`: pay for compilation now instead of in the first night."""

from __future__ import annotations

from flows.commands.session import DEFAULT_OUTPUT, Answer, Output, opened


def warmup(*, output: Output = DEFAULT_OUTPUT) -> Answer:
    """Compile the booster's kernels into the cache under the home.

    Example: leadscore warmup
    """
    with opened(output) as (_, progress):
        with progress.stage("compile"):
            _fit_something_small()
        seconds = progress.seconds["compile"]
    return Answer({"status": "warm", "seconds": seconds}, lambda: f"kernels compiled in {seconds:.1f} s")


def _fit_something_small() -> None:
    """Every kernel that a night uses, on 200 made-up rows."""
    import numpy as np

    from pkboost_core import PKBoostClassifier, PKBoostRegressor
    from pkboost_core.explain import shap_values

    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    y = (np.nan_to_num(X[:, 0]) + rng.normal(size=200) > 1.0).astype(np.float64)
    model = PKBoostClassifier(random_state=0).fit(X, y)
    model.predict_proba(X)
    shap_values(model.ensemble_, X[:5])
    PKBoostRegressor(random_state=0, n_estimators=3, early_stopping=False).fit(X, y).predict(X)
