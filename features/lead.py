"""Lead group: what the lead record itself said at the snapshot."""

import polars as pl

from features.email_domains import domain_kind
from features.fields import value_at
from features.sources import Datetime, Sources
from features.spine import KEYS
from features.titles import department, seniority

FIELDS = ("lead_source", "title", "industry", "country", "employee_count", "annual_revenue", "email_domain")


def lead(sources: Sources, spine: pl.DataFrame) -> pl.DataFrame:
    """Return age, source, seniority, department, firmographics, kind of e-mail domain and completeness.

    `lead_completeness` is the share of filled fields among `FIELDS`; account and owner are left out of it,
    because CRMs tend to fill them when a lead converts.
    """
    values = pl.DataFrame({field: value_at(sources, "lead", field, spine) for field in FIELDS})
    created = sources.lead.select("lead_id", "created_at")
    born = spine.join(created, on="lead_id", how="left", maintain_order="left")
    age = pl.col("snapshot_date").cast(Datetime) - pl.col("created_at")
    described = values.select(
        lead_source="lead_source",
        lead_seniority=seniority(values["title"]),
        lead_department=department(values["title"]),
        lead_industry="industry",
        lead_country="country",
        lead_employee_count="employee_count",
        lead_annual_revenue="annual_revenue",
        lead_email_domain_kind=domain_kind(pl.col("email_domain")),
        lead_completeness=pl.mean_horizontal([_is_filled(field, values.schema[field]) for field in FIELDS]),
    )
    aged = born.select(*KEYS, lead_age_days=age.dt.total_seconds() / 86_400)
    return pl.concat([aged, described], how="horizontal")


def _is_filled(field: str, dtype: pl.DataType) -> pl.Expr:
    value = pl.col(field)
    return (
        value.is_not_null() & (value.str.strip_chars() != "") if dtype == pl.String else value.is_not_null()
    )
