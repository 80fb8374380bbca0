"""Write the stored models and what they predict: `python tests/pkboost_core/golden/write.py FOLDER`.

Run it for a new format version only, into a new folder; the old folders stay, as promises to files out there.
"""

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl

from pkboost_core import PKBoostClassifier, PKBoostRegressor
from pkboost_core.serialize import save

OPTIONS = {"n_estimators": 4, "max_leaf_nodes": 5, "learning_rate": 0.3}


def rows(n, seed):
    rng = np.random.default_rng(seed)
    visits = rng.poisson(4, n).astype(float)
    visits[rng.random(n) < 0.1] = np.nan
    frame = pl.DataFrame(
        {
            "visits": visits,
            "size": np.round(rng.gamma(2, 9, n)),
            "source": rng.choice(["web", "fair", "call", "désk"], n),
            "is_known": rng.random(n) < 0.5,
        }
    )
    amount = np.nan_to_num(visits) + 3 * (frame["source"].to_numpy() == "fair") + rng.normal(size=n)
    return frame.with_columns(pl.col("visits").fill_nan(None)), amount


def models():
    X, amount = rows(400, 0)
    many, many_amounts = rows(2_500, 2)
    return {
        "two_classes": PKBoostClassifier(**OPTIONS, robust=True, calibration="beta").fit(X, amount > 6),
        "three_classes": PKBoostClassifier(**OPTIONS | {"n_estimators": 3}).fit(
            X, np.digitize(amount, [4, 7])
        ),
        "bag": PKBoostClassifier(**OPTIONS | {"n_estimators": 1}, mode="quality").fit(X, amount > 6),
        "quality": PKBoostClassifier(**OPTIONS | {"n_estimators": 2}, mode="quality").fit(
            many, many_amounts > many["size"].to_numpy() / 4
        ),
        "counts": PKBoostRegressor(
            **OPTIONS, loss="poisson", monotonic_constraints={"visits": 1}, early_stopping=False
        ).fit(X, np.round(np.maximum(amount, 0))),
    }


def answers(model, X):
    values, expected = model.shap_values(X)
    proba = model.predict_proba(X) if hasattr(model, "predict_proba") else None
    found = {"predict": model.predict(X), "predict_proba": proba, "shap_values": values, "expected": expected}
    return {name: np.asarray(value).tolist() for name, value in found.items() if value is not None}


def main(folder):
    folder.mkdir()
    is_fourth = pl.int_range(pl.len()) == 3
    batch = rows(12, 1)[0].with_columns(
        pl.when(is_fourth).then(pl.lit("new")).otherwise("source").alias("source")
    )
    fitted = models()
    for name, model in fitted.items():
        save(model, folder / f"{name}.pkb")
    expected = {"rows": batch.to_dict(as_series=False)} | {n: answers(m, batch) for n, m in fitted.items()}
    (folder / "expected.json").write_text(json.dumps(expected), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
