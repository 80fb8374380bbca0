"""Leads that are not scored because a person's rule says so: competitors, students, spam, customers."""

import polars as pl

RULES_SCHEMA = {"kind": pl.String, "pattern": pl.String, "reason": pl.String}
NO_RULES = pl.DataFrame(schema=RULES_SCHEMA)


def excluded(leads: pl.DataFrame, accounts: pl.DataFrame, rules: pl.DataFrame) -> pl.DataFrame:
    """Return lead_id and reason of the leads that a rule excludes; the first rule that fits gives the reason.

    Patterns are plain words compared without regard to case; docs/guides/worklist.md describes each kind.

    Raises
    ------
    ValueError
        A rule is of a kind that this version does not know.
    """
    flags = accounts.select("account_id", "is_customer", "is_competitor").unique("account_id", keep="any")
    rows = leads.join(flags, on="account_id", how="left", maintain_order="left")
    reasons = [
        pl.when(_fits(rule["kind"], rule["pattern"].lower())).then(pl.lit(rule["reason"]))
        for rule in rules.iter_rows(named=True)
    ]
    named = rows.select("lead_id", reason=pl.coalesce(*reasons, pl.lit(None, pl.String)))
    return named.filter(pl.col("reason").is_not_null())


def _fits(kind: str, pattern: str) -> pl.Expr:
    text = {name: pl.col(name).str.to_lowercase() for name in ("title", "email_domain", "lead_source")}
    domain = text["email_domain"].str.strip_chars(" .")
    kinds = {
        "account_is": {"customer": pl.col("is_customer"), "competitor": pl.col("is_competitor")}.get(pattern),
        "email_domain": (domain == pattern) | domain.str.ends_with("." + pattern),
        "title_word": text["title"].str.extract_all(r"[\p{L}\d]+").list.contains(pattern),
        "lead_source": text["lead_source"] == pattern,
        "account_id": pl.col("account_id").str.to_lowercase() == pattern,
        "lead_id": pl.col("lead_id").str.to_lowercase() == pattern,
    }
    fits = kinds.get(kind)
    if fits is None:
        raise ValueError(
            f"scoring.exclusion_rule has kind {kind!r}, pattern {pattern!r}: no such rule is known"
        )
    return fits.fill_null(False)
