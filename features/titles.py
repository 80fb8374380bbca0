"""Seniority and department read from a job title, in the words of several languages' business cards."""

import polars as pl

# First match wins: "Assistant to the CEO" is no chief, "Vice President" no president, "Sales Director" no
# seller.
SENIORITY = (
    ("junior", r"\b(intern|trainee|student|assistant|apprentice|junior|praktikant\w*|stagiaire)\b"),
    ("vp", r"\b(vp|svp|evp|avp|vice[ -]president)\b"),
    (
        "c_level",
        r"\b(c[efotimrsp]o|ciso|chief|founder|co-?founder|owner|president|partner|gesch[aä]ftsf[uü]hrer\w*|pdg)\b",
    ),
    ("director", r"\b(director|head|directeur|directrice|leiter\w*|managing)\b"),
    ("manager", r"\b(manager|lead|leader|supervisor|coordinator|team ?lead|responsable)\b"),
    ("senior", r"\b(senior|sr|principal|staff|architect|expert)\b"),
)
DEPARTMENT = (
    (
        "engineering",
        r"\b(engineer\w*|developer|software|devops|architect|technical|technology|cto|r&d|product)\b",
    ),
    ("it", r"\b(it|cio|ciso|information|systems?|security|infrastructure|network|data)\b"),
    ("marketing", r"\b(marketing|cmo|brand|content|growth|communications?|seo|demand)\b"),
    ("sales", r"\b(sales|account (executive|manager)|business development|revenue|cro|bdr|sdr|vertrieb)\b"),
    ("finance", r"\b(financ\w*|cfo|account(ant|ing)|controller|treasur\w*|audit\w*)\b"),
    ("people", r"\b(hr|human resources|people|talent|recruit\w*|chro|personal)\b"),
    ("operations", r"\b(operations?|coo|logistics|supply|manufacturing|plant|quality|facilit\w*)\b"),
    ("procurement", r"\b(procurement|purchas\w*|buyer|sourcing|einkauf)\b"),
    ("legal", r"\b(legal|counsel|compliance|attorney|lawyer)\b"),
    ("support", r"\b(support|customer (success|service)|help ?desk)\b"),
    ("medical", r"\b(doctor|physician|nurse|medical|clinical|health\w*)\b"),
    ("education", r"\b(teacher|professor|lecturer|dean|research\w*|education)\b"),
    (
        "management",
        r"\b(ceo|founder|co-?founder|owner|president|managing|general manager|gesch[aä]ftsf[uü]hrer\w*)\b",
    ),
)


def seniority(titles: pl.Series) -> pl.Series:
    """Return the seniority of each title: a name of `SENIORITY`, else 'individual'; null without a title."""
    return _first_match(titles, SENIORITY, "individual")


def department(titles: pl.Series) -> pl.Series:
    """Return the department of each title: a name of `DEPARTMENT`, else 'other'; null without a title."""
    return _first_match(titles, DEPARTMENT, "other")


def _first_match(titles: pl.Series, patterns: tuple[tuple[str, str], ...], otherwise: str) -> pl.Series:
    # a spine repeats each title at every snapshot, so the patterns run over distinct titles only
    distinct = titles.alias("title").unique().drop_nulls().to_frame()
    text = pl.col("title").str.to_lowercase().str.strip_chars()
    found = pl.coalesce(
        [pl.when(text.str.contains(pattern)).then(pl.lit(name)) for name, pattern in patterns]
        + [pl.lit(otherwise)]
    )
    known = distinct.with_columns(found=pl.when(text != "").then(found))
    return (
        titles.alias("title").to_frame().join(known, on="title", how="left", maintain_order="left")["found"]
    )
