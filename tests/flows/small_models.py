"""Small frames and models for tests that are about what is done with a model."""

from datetime import date

import numpy as np
import polars as pl

from features.matrix import fit_encoding, to_matrix
from flows.lead_model import LabelDefinition, LeadModel, TrainingRange
from pkboost_core import PKBoostClassifier


def features(n: int, seed: int = 0) -> pl.DataFrame:
    """Columns of every kind, with gaps."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "lead_source": rng.choice(np.array(["Web", "Referral", "Fair", None], dtype=object), n).tolist(),
            "activity_pricing_visit_count_7d": pl.Series(rng.poisson(1.0, n), dtype=pl.UInt32),
            "activity_email_reply_recency_days": [None if r < 0.3 else int(60 * r) for r in rng.random(n)],
            "account_is_competitor": rng.random(n) < 0.2,
            "lead_completeness": rng.random(n),
        }
    )


def tiny_model() -> LeadModel:
    """Two trees on one column."""
    frame = pl.DataFrame({"lead_age_days": np.arange(80.0)})
    encoding = fit_encoding(frame)
    y = (np.arange(80) % 7 == 0).astype(float)
    booster = PKBoostClassifier(n_estimators=2, random_state=7).fit(to_matrix(frame, encoding), y)
    learnt = TrainingRange(date(2026, 5, 1), date(2025, 6, 1), date(2026, 2, 1), 80, int(y.sum()))
    return LeadModel(booster, encoding, LabelDefinition(60, 7, "c" * 64), learnt)
