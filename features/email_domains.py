"""What an e-mail domain says about its owner: free mail, education, government or a company."""

import polars as pl

FREE_MAIL = (
    "gmail.com", "googlemail.com", "yahoo.com", "ymail.com", "rocketmail.com", "hotmail.com",
    "outlook.com", "live.com",
    "msn.com", "aol.com", "icloud.com", "me.com", "mac.com", "mail.com", "mail.ru", "yandex.ru",
    "yandex.com", "bk.ru",
    "gmx.de", "gmx.net", "gmx.com", "web.de", "t-online.de", "freenet.de", "proton.me", "protonmail.com",
    "pm.me",
    "zoho.com", "fastmail.com", "hey.com", "qq.com", "163.com", "126.com", "sina.com", "naver.com",
    "daum.net",
    "rediffmail.com", "libero.it", "orange.fr", "wanadoo.fr", "free.fr", "laposte.net", "sfr.fr",
    "comcast.net",
    "verizon.net", "att.net", "btinternet.com", "uol.com.br", "bol.com.br", "terra.com.br", "seznam.cz",
    "wp.pl",
)  # fmt: skip
FREE_MAIL_BRANDS = r"^(yahoo|hotmail|outlook|live|gmx|yandex)\.([a-z]{2,3}|co\.[a-z]{2}|com\.[a-z]{2})$"
EDUCATION = r"(^|\.)(edu|ac)(\.[a-z]{2})?$|^uni-|\.uni-|(^|\.)university\."
GOVERNMENT = r"(^|\.)(gov|mil|gob|gouv|govt)(\.[a-z]{2})?$|\.gc\.ca$|(^|\.)bund\.de$|\.europa\.eu$"


def domain_kind(domain: pl.Expr) -> pl.Expr:
    """Return 'free_mail', 'education', 'government' or 'corporate'; null without a domain."""
    name = domain.str.to_lowercase().str.strip_chars(" .").str.replace(r"^.*@", "")
    return (
        pl.when(name == "")
        .then(None)
        .when(name.is_in(FREE_MAIL) | name.str.contains(FREE_MAIL_BRANDS))
        .then(pl.lit("free_mail"))
        .when(name.str.contains(EDUCATION))
        .then(pl.lit("education"))
        .when(name.str.contains(GOVERNMENT))
        .then(pl.lit("government"))
        .when(name.is_not_null())
        .then(pl.lit("corporate"))
    )
