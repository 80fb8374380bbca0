"""What the doctor says about one thing."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's answer.

    Attributes
    ----------
    status : ok, warn (a night runs, but look), fail (a night would stop here).
    remedy : what to do; empty when ok.
    rows : the figures behind it, as a table.
    """

    check: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    remedy: str = ""
    rows: tuple[dict[str, Any], ...] = field(default=())
