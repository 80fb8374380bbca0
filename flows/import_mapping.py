"""The declared mapping from a CRM's export to the contract: which file and column becomes what."""

import tomllib
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from flows.derived_time import DerivedTime
from flows.import_targets import (
    ATTRS,
    MAIN_TABLE,
    REQUIRED,
    Kind,
    MappingError,
    Role,
    did_you_mean,
    target_of,
)


def _tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _rule(value: Any) -> Any:
    """A column may be given as a word or a list of words instead of a table."""
    words = _tuple(value)
    return {"to": words} if isinstance(words, (list, tuple)) else value


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{name!r} is no time zone; write one such as 'UTC' or 'Europe/Berlin'") from error
    return name


Words = Annotated[tuple[str, ...], BeforeValidator(_tuple)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ColumnRule(_Model):
    """What one column of a file becomes.

    Attributes
    ----------
    to : targets; 'attrs' keeps it as a custom column under its own name, 'ignore' drops it.
    type : only needed for custom columns that are numbers or booleans, and for times that are days ('date').
    format : strptime patterns of a time, tried in order; ISO 8601 when absent.
    timezone : of times written without an offset.
    decimal : the decimal mark; the other of '.' and ',' may group thousands.
    values : recoding of the file's words; '' as the new value means missing.
    banned : why the column must not be used: it holds what was learned after creation.
    """

    to: Words = ()
    type: Kind | None = None
    format: Words = ()
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    decimal: Literal[".", ","] = "."
    values: dict[str, str] = {}
    banned: str | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """The words of `to` without 'ignore'."""
        return tuple(word for word in self.to if word != "ignore")


class LeadKey(_Model):
    """How a row without the lead's id finds its lead: `column` here equals `matches` in the leads."""

    column: str
    matches: str


class Table(_Model):
    """One kind of file: how it is recognised, written and mapped.

    Attributes
    ----------
    file : pattern of its name; several matching files are read as one.
    null_tokens : words that mean missing, besides the empty cell.
    unlisted : what becomes of columns the mapping does not name.
    constants : targets that have the same value in each row.
    max_set_aside_share : with more unusable rows than this share the mapping must be wrong: the import stops.
    """

    role: Role
    file: str = "*"
    encoding: str = "utf-8"
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    null_tokens: tuple[str, ...] = ()
    unlisted: Literal["leave out", "attrs"] = "leave out"
    columns: dict[str, Annotated[ColumnRule, BeforeValidator(_rule)]]
    constants: dict[str, str] = {}
    lead_key: LeadKey | None = None
    max_set_aside_share: float = Field(default=0.1, ge=0, le=1)

    @model_validator(mode="after")
    def _check_targets(self) -> "Table":
        words = [(column, word) for column, rule in self.columns.items() for word in rule.targets]
        words += [("constants", word) for word in self.constants]
        taken: dict[str, str] = {}
        for column, word in words:
            name = target_of(self.role, word).name
            if name in taken and name != f"lead.{ATTRS}":
                raise MappingError(f"{taken[name]!r} and {column!r} both become {name}; keep one")
            taken[name] = column
        if self.role == "leads" and self.lead_key is not None:
            raise MappingError("lead_key is for outcomes and activities")
        if self.role != "leads" and self.unlisted == "attrs":
            raise MappingError("unlisted = 'attrs' is for leads")
        return self

    def provides(self) -> set[str]:
        """Names of all targets that columns and constants fill."""
        words = [word for rule in self.columns.values() for word in rule.targets] + list(self.constants)
        return {target_of(self.role, word).name for word in words}


class Label(_Model):
    """Settings of the label that the data, or the times made up for it, were laid out for."""

    horizon_days: int = Field(gt=0)
    reporting_lag_days: int = Field(ge=0)
    snapshot_every_days: int = Field(gt=0)


class Mapping(_Model):
    """A whole mapping.

    Attributes
    ----------
    clock : the data's own today; absent means the calendar's.
    label : see `Label`; required with `derived_time`.
    derived_time : how times are made up where the file has only an order.
    tables : one per kind of file, exactly one with role 'leads'.
    """

    name: str
    description: str = ""
    clock: date | None = None
    label: Label | None = None
    derived_time: DerivedTime | None = None
    tables: tuple[Table, ...]

    @model_validator(mode="after")
    def _check_whole(self) -> "Mapping":
        leads = [table for table in self.tables if table.role == "leads"]
        if len(leads) != 1:
            raise MappingError(
                f"a mapping has exactly one table with role 'leads', this one has {len(leads)}"
            )
        self._check_derived_time(leads[0])
        for table in self.tables:
            self._check_required(table)
            if table.lead_key and table.lead_key.matches not in leads[0].columns:
                raise MappingError(
                    f"lead_key matches {table.lead_key.matches!r}, which the leads do not list"
                    + did_you_mean(table.lead_key.matches, leads[0].columns)
                )
        return self

    @property
    def leads(self) -> Table:
        """The table of leads."""
        return next(table for table in self.tables if table.role == "leads")

    def _check_derived_time(self, leads: Table) -> None:
        if self.derived_time is None:
            return
        if self.clock is None or self.label is None:
            raise MappingError("derived_time needs a clock and [label]: the times are laid out around them")
        self.derived_time.check(**self.label.model_dump())
        if self.derived_time.order_by not in leads.columns:
            raise MappingError(f"order_by names {self.derived_time.order_by!r}, which the leads do not list")

    def _check_required(self, table: Table) -> None:
        given = table.provides()
        if table.role == "leads" and self.derived_time:
            given |= {"lead.created_at", "outcome.outcome_at"}
        if table.lead_key:
            given.add(f"{MAIN_TABLE[table.role]}.lead_id")
        required = list(REQUIRED[table.role])
        if table.role == "leads" and any(name.startswith("outcome.") for name in table.provides()):
            required += ["outcome.outcome", "outcome.outcome_at"]
        for name in required:
            if name not in given:
                raise MappingError(f"nothing becomes {name} in the table with role {table.role!r}")


def shipped_mappings() -> list[str]:
    """Names of the mappings that come with the package."""
    return sorted(
        entry.name[:-5]
        for entry in files("flows").joinpath("mappings").iterdir()
        if entry.name.endswith(".toml")
    )


def load_mapping(name_or_file: str | Path) -> Mapping:
    """Read a shipped mapping by name, or a file that ends in .toml.

    Raises
    ------
    MappingError : no such mapping, no valid TOML, or a mistake in it; the message names file and place.
    """
    text = _read(name_or_file)
    try:
        return Mapping.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"mapping {name_or_file}: {error}") from error
    except ValidationError as error:
        raise MappingError("\n".join([f"mapping {name_or_file}:", *map(_explain, error.errors())])) from None


def _read(name_or_file: str | Path) -> str:
    if str(name_or_file).endswith(".toml"):
        try:
            return Path(name_or_file).read_text(encoding="utf-8")
        except OSError as error:
            raise MappingError(f"mapping {name_or_file} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise MappingError(f"mapping {name_or_file} is not UTF-8 text") from error
    if name_or_file not in shipped_mappings():
        hint = did_you_mean(str(name_or_file), shipped_mappings())
        raise MappingError(
            f"there is no mapping {str(name_or_file)!r}{hint}; a file of your own ends in .toml"
        )
    return files("flows").joinpath("mappings", f"{name_or_file}.toml").read_text(encoding="utf-8")


def _explain(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"]) or "mapping"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "there is no such setting"
    return f"- {place}: {message}"
