"""Importing files: what comes in, what is set aside, and that a failed import changes nothing."""

import os
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.spine import snapshot_dates, spine
from flows.adapters.database import Database
from flows.adapters.export_files import ExportFileError, read_export
from flows.adapters.importer import ImportReport, import_files
from flows.adapters.migrations import installed_source
from flows.adapters.source_reader import read_sources
from flows.import_mapping import Mapping, MappingError, Table, load_mapping
from tests.features.window_labels import labelled

PROJECT = Path(__file__).parents[2]
DATA = Path(os.environ.get("LEADSCORE_DATA_DIR", PROJECT.parent / "shared" / "data"))
GUIDE = PROJECT / "docs" / "guides" / "import.md"

needs_data = [
    pytest.mark.data,
    pytest.mark.skipif(
        not (DATA / "xeducation").is_dir(), reason=f"no real data at {DATA} (LEADSCORE_DATA_DIR)"
    ),
]

Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def leads_table(**settings: Any) -> dict[str, Any]:
    columns = {"id": "lead_id", "created": "created_at"} | settings.pop("columns", {})
    return {"role": "leads", "columns": columns, "max_set_aside_share": 0.99} | settings


def mapping_of(*tables: dict[str, Any], **settings: Any) -> Mapping:
    return Mapping.model_validate({"name": "small", "clock": date(2024, 6, 1), "tables": tables} | settings)


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return connection.execute(query.encode()).fetchall()


def findings(report: ImportReport) -> list[tuple[str, int, tuple[str, ...], str, str]]:
    return [(f.problem, f.n_rows, f.places, f.sample, f.consequence) for f in report.findings]


GOOD = "id,created,size\na,2024-01-01 10:00:00,5\nb,2024-01-02 11:00:00,6\n"


def test_a_file_becomes_the_source_with_the_mappings_clock(database: Database, write: Write) -> None:
    table = leads_table(columns={"size": "employee_count"})
    report = import_files(database, [write("leads.csv", GOOD)], mapping_of(table))
    assert (report.tables[0].n_read, report.tables[0].n_kept, report.tables[0].n_set_aside) == (2, 2, 0)
    assert report.loaded == {"lead": 2, "outcome": 0, "activity": 0, "consent": 0}
    source = installed_source(database)
    assert source is not None
    assert (source.adapter, source.clock) == ("imported", date(2024, 6, 1))
    leads = read_sources(database, date(2024, 6, 1))[0].lead.sort("lead_id")
    assert leads.select("lead_id", "created_at", "employee_count").rows() == [
        ("a", datetime(2024, 1, 1, 10, tzinfo=UTC), 5.0),
        ("b", datetime(2024, 1, 2, 11, tzinfo=UTC), 6.0),
    ]


def test_importing_again_replaces_rows_and_clock(database: Database, write: Write) -> None:
    import_files(database, [write("leads.csv", GOOD)], mapping_of(leads_table()))
    other = write("leads.csv", "id,created\nz,2024-03-01 00:00:00\n")
    import_files(database, [other], mapping_of(leads_table(), clock=None))
    assert rows(database, "SELECT lead_id FROM imported.lead") == [("z",)]
    source = installed_source(database)
    assert source is not None
    assert source.clock is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            'id,created\na,2024-01-01 10:00:00\n"b,2024-01-02 11:00:00"\n',
            r"line 3 has 1 field where the header has 2",
        ),
        ("id,created\na,2024-01-01 10:00:00,7\nb,x\n", r"line 2 has 3 fields.*1 of 2 rows would be lost"),
        (
            'id,created\na,2024-01-01 10:00:00\n"b,2024-01-02\nc,2024-01-02\n',
            r"starts on line 3 a quote does not",
        ),
        (
            b"id,created\na,2024-01-01 10:00:00\nM\xfcller,2024-01-02 11:00:00\n",
            r"not utf-8 text at line 3 .*0xfc.*'M'",
        ),
        ("id;created\na;2024-01-01 10:00:00\n", r"declare delimiter = ';'"),
        (
            "id,Created at\na,2024-01-01 10:00:00\n",
            r"lacks 1 of the columns.*'created': did you mean 'Created at'",
        ),
        ("id,created,id\n", r"column 'id' occurs twice"),
        ("id,created\n", r"no rows below its header"),
        ("", r"no header in its first line"),
        (
            "id,created\na,yesterday\nb,2024-13-01\n",
            r"2 of 2 rows .*'created' is no time.*'yesterday' \(leads.csv:2, ",
        ),
    ],
)
def test_a_file_that_does_not_fit_leaves_the_database_as_it_was(
    database: Database, write: Write, content: str | bytes, message: str
) -> None:
    import_files(database, [write("leads.csv", GOOD)], mapping_of(leads_table()))
    before = rows(
        database, "SELECT l.*, x.imported_at FROM imported.lead AS l, imported.load AS x ORDER BY 1"
    )
    with pytest.raises((ExportFileError, MappingError), match=re.compile(message, re.DOTALL)):
        import_files(database, [write("leads.csv", content)], mapping_of(leads_table()))
    after = rows(database, "SELECT l.*, x.imported_at FROM imported.lead AS l, imported.load AS x ORDER BY 1")
    assert after == before
    assert len(before) == 2


def test_a_failure_while_loading_leaves_the_database_as_it_was(database: Database, write: Write) -> None:
    """The rows are checked here; a trigger stands for what only the server can refuse."""
    import_files(database, [write("leads.csv", GOOD)], mapping_of(leads_table()))
    with database.connect() as connection:
        connection.execute("ALTER TABLE imported.load ADD CONSTRAINT full_disk CHECK (mapping <> 'other')")
    newer = write("leads.csv", "id,created\nz,2024-03-01 00:00:00\n")
    with pytest.raises(Exception, match="full_disk"):
        import_files(database, [newer], mapping_of(leads_table(), name="other", clock=date(2025, 1, 1)))
    assert rows(database, "SELECT lead_id FROM imported.lead ORDER BY 1") == [("a",), ("b",)]
    assert rows(database, "SELECT clock FROM leadscore.source") == [(date(2024, 6, 1),)]
    with database.connect() as connection:
        connection.execute("ALTER TABLE imported.load DROP CONSTRAINT full_disk")


def test_importing_takes_over_from_another_source(database: Database, write: Write) -> None:
    with database.connect() as connection:
        connection.execute("UPDATE leadscore.source SET adapter = 'another', clock = '2030-01-01'")
    import_files(database, [write("leads.csv", GOOD)], mapping_of(leads_table()))
    assert rows(database, "SELECT adapter, clock FROM leadscore.source") == [("imported", date(2024, 6, 1))]


def test_rows_that_cannot_be_used_are_counted_with_place_and_sample(database: Database, write: Write) -> None:
    content = (
        "id,created,size,note\n"
        'a,2024-01-01 10:00:00,5,"two\nlines"\n'
        ",2024-01-01 10:00:00,5,\n"
        "c,soon,5,\n"
        "\n"
        "a,2024-01-03 10:00:00,5,\n"
        "e,1889-01-01 00:00:00,5,\n"
        "f,2024-01-03 10:00:00,inf,\n"
        "g,,5,\n"
    )
    table = leads_table(columns={"size": "employee_count", "note": "notes"})
    report = import_files(database, [write("leads.csv", content)], mapping_of(table))
    assert findings(report) == [
        ("lead_id is missing", 1, ("leads.csv:4",), "", "row set aside"),
        (
            "'created' is no time between 1990 and 2100 in the declared format",
            2,
            ("leads.csv:5", "leads.csv:8"),
            "soon",
            "row set aside",
        ),
        ("lead_id occurs before", 1, ("leads.csv:7",), "a", "row set aside"),
        ("created_at is missing", 1, ("leads.csv:10",), "", "row set aside"),
        ("'size' is no finite number", 1, ("leads.csv:9",), "inf", "value left out"),
    ]
    count = report.tables[0]
    assert (count.n_read, count.n_kept, count.n_set_aside) == (7, 2, 5)
    assert rows(database, "SELECT lead_id, employee_count, notes FROM imported.lead ORDER BY 1") == [
        ("a", 5.0, "two\nlines"),
        ("f", None, None),
    ]


def test_columns_the_mapping_does_not_name_are_listed_or_kept_as_custom(
    database: Database, write: Write
) -> None:
    path = write("leads.csv", "id,created,Colour,Shoe size\na,2024-01-01 10:00:00,red,44\n")
    report = import_files(database, [path], mapping_of(leads_table()))
    assert report.tables[0].columns_left_out == ("Colour", "Shoe size")
    report = import_files(database, [path], mapping_of(leads_table(unlisted="attrs")))
    assert report.tables[0].columns_left_out == ()
    assert rows(database, "SELECT attrs FROM imported.lead") == [({"Colour": "red", "Shoe size": "44"},)]


def test_banned_columns_stay_out_unless_they_are_let_in(database: Database, write: Write) -> None:
    path = write("leads.csv", "id,created,Rating,Visits\na,2024-01-01 10:00:00,Hot,3\n")
    columns = {"Rating": {"banned": "set after the call"}, "Visits": {"to": "attrs", "type": "number"}}
    mapping = mapping_of(leads_table(columns=columns))
    report = import_files(database, [path], mapping)
    assert (report.banned, report.allowed) == ({"Rating": "set after the call"}, ())
    assert rows(database, "SELECT attrs FROM imported.lead") == [({"Visits": 3.0},)]
    for allow in (["all"], ["Rating"]):
        report = import_files(database, [path], mapping, allow_banned=allow)
        assert (report.banned, report.allowed) == ({}, ("Rating",))
        assert rows(database, "SELECT attrs FROM imported.lead") == [({"Rating": "Hot", "Visits": 3.0},)]
    with pytest.raises(
        MappingError, match="'Ratings' is no banned column of the leads; did you mean 'Rating'"
    ):
        import_files(database, [path], mapping, allow_banned=["Ratings"])


def test_a_declared_encoding_and_a_byte_order_mark_are_read(write: Write) -> None:
    table = Table.model_validate(leads_table(encoding="cp1252"))
    cp1252 = write("a.csv", "id,created\nMüller,2024-01-01\n".encode("cp1252"))
    assert read_export(cp1252, table, {"id"})["id"].to_list() == ["Müller"]
    marked = write("b.csv", b"\xef\xbb\xbfid,created\r\nM\xc3\xbcller,2024-01-01\r\n")
    assert read_export(marked, Table.model_validate(leads_table()), {"id"})["id"].to_list() == ["Müller"]


def test_a_cell_that_swallowed_other_rows_is_damage_even_with_the_right_number_of_fields(
    write: Write,
) -> None:
    body = 'a,2024-01-01,"x\nb,2024-01-02,y\nc,2024-01-03,z"\nd,2024-01-04,"a note\nof two lines"\n'
    table = Table.model_validate(leads_table())
    with pytest.raises(
        ExportFileError, match=r"starts on line 2 swallows 2 lines. 2 of 3 rows would be lost"
    ):
        read_export(write("a.csv", f"id,created,note\n{body}"), table, {"id"})


def test_parquet_keeps_its_types_and_counts_its_rows(database: Database, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "id": [1, 2, None],
            "created": [datetime(2024, 7, 1, 12), datetime(2024, 7, 2, 12), datetime(2024, 7, 3)],
            "day": [date(2024, 7, 9), None, None],
            "revenue": [1.5, float("inf"), None],
            "optout": [True, False, None],
        }
    )
    frame.write_parquet(tmp_path / "leads.parquet")
    columns = {
        "created": {"to": "created_at", "timezone": "Europe/Berlin"},
        "day": {"to": "outcome.outcome_at", "type": "date"},
        "revenue": "annual_revenue",
        "optout": "consent.opted_out_profiling",
    }
    table = leads_table(columns=columns, constants={"outcome.outcome": "converted"})
    report = import_files(database, [tmp_path / "leads.parquet"], mapping_of(table))
    assert [(f.problem, f.places) for f in report.findings] == [
        ("lead_id is missing", ("leads.parquet:3",)),
        ("'revenue' is no finite number", ("leads.parquet:2",)),
    ]
    assert rows(database, "SELECT lead_id, created_at, annual_revenue FROM imported.lead ORDER BY 1") == [
        ("1", datetime(2024, 7, 1, 10, tzinfo=UTC), 1.5),
        ("2", datetime(2024, 7, 2, 10, tzinfo=UTC), None),
    ]
    assert rows(database, "SELECT lead_id, outcome, outcome_at, outcome_precision FROM imported.outcome") == [
        ("1", "converted", datetime(2024, 7, 9, tzinfo=UTC), "day")
    ]
    assert rows(database, "SELECT lead_id, opted_out_profiling FROM imported.consent ORDER BY 1") == [
        ("1", True),
        ("2", False),
    ]


def test_what_is_no_parquet_file_is_named(database: Database, write: Write) -> None:
    with pytest.raises(ExportFileError, match=r"leads\.parquet is no readable Parquet file"):
        import_files(database, [write("leads.parquet", b"PAR1 no")], mapping_of(leads_table()))
    with pytest.raises(ExportFileError, match="there is no file"):
        import_files(database, [Path("nowhere.csv")], mapping_of(leads_table()))


def test_files_are_matched_by_name_and_a_stranger_or_a_gap_is_named(database: Database, write: Write) -> None:
    outcomes = {
        "role": "outcomes",
        "file": "deals*.csv",
        "columns": {"lead": "lead_id", "won": "outcome_at"},
        "constants": {"outcome": "converted"},
    }
    mapping = mapping_of(leads_table(file="leads*.csv"), outcomes)
    january = write("leads-1.csv", "id,created\na,2024-01-01 10:00:00\n")
    february = write("Leads-2.CSV", "created,id\n2024-02-01 10:00:00,b\n")
    deals = write("deals.csv", "lead,won\nb,2024-03-01T00:00:00Z\n")
    report = import_files(database, [deals, february, january], mapping)
    assert [(count.files, count.n_read) for count in report.tables] == [
        (("Leads-2.CSV", "leads-1.csv"), 2),
        (("deals.csv",), 1),
    ]
    with pytest.raises(ExportFileError, match=r"no file fits deals\*\.csv \(outcomes\)"):
        import_files(database, [january], mapping)
    with pytest.raises(ExportFileError, match=r"other\.csv fits no table of the mapping"):
        import_files(database, [january, deals, write("other.csv", "x\n1\n")], mapping)


def test_a_lead_whose_outcome_cannot_be_read_is_set_aside_with_it(database: Database, write: Write) -> None:
    """Kept without its outcome it would pass for a lead that never converted."""
    outcomes = {
        "role": "outcomes",
        "file": "deals.csv",
        "max_set_aside_share": 0.9,
        "columns": {
            "lead": "lead_id",
            "at": "outcome_at",
            "how": {"to": "outcome", "values": {"Won": "converted", "Open": ""}},
        },
    }
    leads = write("leads.csv", "id,created\n" + "".join(f"{name},2024-01-01 10:00:00\n" for name in "abcde"))
    deals = write(
        "deals.csv",
        "lead,at,how\na,2024-02-01 00:00:00,Won\nb,when?,Won\nc,?,Open\nd,2024-02-01 00:00:00,Wno\n",
    )
    report = import_files(database, [leads, deals], mapping_of(leads_table(file="leads.csv"), outcomes))
    assert rows(database, "SELECT lead_id FROM imported.lead ORDER BY 1") == [("a",), ("c",), ("e",)]
    assert {(f.table, f.problem, f.n_rows) for f in report.findings} == {
        ("leads", "its outcome was set aside", 2),
        ("outcomes", "'at' is no time between 1990 and 2100 in the declared format", 1),
        ("outcomes", "'how' is not one of the listed values", 1),
        ("outcomes", "no outcome yet", 1),
    }


def test_a_key_that_fits_several_leads_fits_none(database: Database, write: Write) -> None:
    calls = {
        "role": "activities",
        "file": "calls.csv",
        "lead_key": {"column": "who", "matches": "mail"},
        "columns": {"at": "occurred_at"},
        "constants": {"activity_type": "call"},
        "max_set_aside_share": 0.9,
    }
    leads = write(
        "leads.csv",
        "id,created,mail\na,2024-01-01 10:00:00,x@y\nb,2024-01-01 10:00:00,X@y\nc,2024-01-01 10:00:00,c@y\n",
    )
    made = write(
        "calls.csv", "who,at\nx@y,2024-02-01T08:00:00Z\n C@Y ,2024-02-02T08:00:00Z\n,2024-02-02T08:00:00Z\n"
    )
    table = leads_table(file="leads.csv", columns={"mail": "ignore"})
    report = import_files(database, [leads, made], mapping_of(table, calls))
    assert {(f.problem, f.places) for f in report.findings} == {
        ("several leads have this mail", ("calls.csv:2",)),
        ("who is missing", ("calls.csv:4",)),
    }
    assert rows(database, "SELECT activity_id, lead_id, activity_type FROM imported.activity") == [
        ("calls.csv:3", "c", "call")
    ]


def guide_blocks() -> dict[str, str]:
    return dict(re.findall(r"```\w+ (\S+)\n(.*?)```", GUIDE.read_text(), re.DOTALL))


def test_the_guides_example_does_what_the_guide_says(
    database: Database, write: Write, tmp_path: Path
) -> None:
    blocks = guide_blocks()
    expected = blocks.pop("report")
    paths = {name: write(name, body) for name, body in blocks.items()}
    report = import_files(
        database, [paths[name] for name in ("leads.csv", "activities.csv", "deals.csv")], paths["crm.toml"]
    )
    lines = [f"{t.role}: {t.n_read} read, {t.n_kept} kept, {t.n_set_aside} set aside" for t in report.tables]
    lines += [f"{f.places[0]} {f.consequence}: {f.problem}: {f.sample}" for f in report.findings]
    assert "\n".join(lines) == expected.strip()
    leads = rows(
        database, "SELECT lead_id, created_at, employee_count, title, attrs FROM imported.lead ORDER BY 1"
    )
    assert leads[0] == ("L1", datetime(2024, 1, 2, 8, 15, tzinfo=UTC), 1200.0, "CTO", {"Job Title": "CTO"})
    assert [lead[0] for lead in leads] == ["L1", "L2", "L3"]
    assert rows(
        database, "SELECT activity_id, lead_id, activity_type, duration_seconds FROM imported.activity"
    ) == [
        ("activities.csv:2", "L1", "call", 720.0),
        ("activities.csv:3", "L1", "email_open", None),
    ]
    outcome = read_sources(database, date(2024, 3, 31))[0].outcome.sort("lead_id")
    assert outcome.select("lead_id", "is_conversion", "known_at", "amount").rows() == [
        ("L1", True, datetime(2024, 2, 21, tzinfo=UTC), 18000.0),
        ("L3", False, datetime(2024, 1, 31, tzinfo=UTC), None),
    ]


def x_education_like(n: int) -> str:
    """A small file with the columns of x_education; every third lead converts, file in descending order."""
    columns = list(load_mapping("x_education").leads.columns)
    lines = [",".join(columns)]
    for number in range(n, 0, -1):
        cells = dict.fromkeys(columns, "No") | {
            "Prospect ID": f"p{number}",
            "Lead Number": str(1000 + 3 * number),
        }
        cells |= {
            "Converted": str(int(number % 3 == 0)),
            "City": "Select",
            "Country": "India",
            "TotalVisits": "2",
        }
        cells |= {"Total Time Spent on Website": "7", "Page Views Per Visit": "1.5", "Do Not Email": "Yes"}
        cells |= {"Asymmetrique Activity Score": "9", "Asymmetrique Profile Score": "9"}
        lines.append(",".join(cells.values()))
    return "\n".join(lines) + "\n"


def check_x_education(database: Database, n: int, every_days: int) -> None:
    """Each older quarter is one mature training snapshot, the newest is open; age and delay say nothing."""
    clock = date(2020, 1, 6)
    now, _ = read_sources(database, clock)
    days = snapshot_dates(
        clock, horizon_days=60, reporting_lag_days=7, every_days=every_days, window_days=365
    )
    training = labelled(spine(now, days, max_age_days=365), now, clock, 60)
    assert training["lead_id"].is_unique().all()
    assert training["is_mature"].all()
    ends = [clock - timedelta(days=back) for back in (151, 137, 67)]
    assert training["snapshot_date"].unique().sort().to_list() == ends

    scored = spine(now, [clock], max_age_days=365)
    later, _ = read_sources(database, clock + timedelta(days=67))
    judged = labelled(scored, later, clock + timedelta(days=67), 60)
    whole = pl.concat([training, judged]).join(now.lead.select("lead_id", "created_at"), on="lead_id")
    whole = whole.join(later.outcome.select("lead_id", "outcome_at", "is_conversion"), on="lead_id")
    assert whole.height == n
    assert (whole["label"] == whole["is_conversion"]).all()
    assert (whole["outcome_at"] - whole["created_at"]).unique().to_list() == [timedelta(days=7)]
    age = pl.col("snapshot_date").cast(pl.Datetime("us", "UTC")) - pl.col("created_at")
    ages = (
        whole.with_columns(age=age.dt.total_seconds() / 86_400)
        .group_by("snapshot_date")
        .agg(pl.len(), mean=pl.col("age").mean(), low=pl.col("age").min(), high=pl.col("age").max())
    )
    assert ages["len"].to_list() == [n // 4] * 4
    assert ages["mean"].to_list() == pytest.approx([3.5] * 4, abs=1e-3)
    assert ages["low"].min() > 0
    assert ages["high"].max() < 7
    assert now.outcome["lead_id"].is_in(scored["lead_id"].implode()).sum() == 0


def test_derived_time_gives_each_cohort_the_same_ages_and_one_snapshot(
    database: Database, write: Write
) -> None:
    path = write("anything.csv", x_education_like(240))
    report = import_files(database, [path], "x_education")
    assert report.loaded == {"lead": 240, "outcome": 240, "activity": 0, "consent": 240}
    check_x_education(database, 240, every_days=7)
    check_x_education(database, 240, every_days=14)
    newest = rows(database, "SELECT lead_id FROM imported.lead ORDER BY created_at DESC LIMIT 2")
    assert newest == [("p240",), ("p239",)]
    lead = rows(
        database,
        "SELECT country, attrs ->> 'City', attrs ->> 'Do Not Email', attrs ? 'Tags' FROM imported.lead",
    )
    assert set(lead) == {("India", None, "Yes", False)}


def test_rows_without_an_order_are_set_aside(database: Database, write: Write) -> None:
    text = x_education_like(240).replace("p7,1021,", "p7,,").replace("p8,1024,", "p8,x,")
    report = import_files(database, [write("leads.csv", text)], "x_education")
    assert [(f.problem, f.n_rows, f.sample) for f in report.findings] == [
        ("'Lead Number' gives no order: it is missing or no number", 2, "x")
    ]
    assert report.loaded["lead"] == 238


class TestRealData:
    pytestmark = needs_data

    def test_x_education_end_to_end(self, database: Database) -> None:
        report = import_files(database, [DATA / "xeducation" / "Leads.csv"], "x_education")
        assert (report.loaded["lead"], report.loaded["outcome"], report.findings) == (9240, 9240, ())
        assert len(report.banned) == 9
        check_x_education(database, 9240, every_days=7)
        names = rows(database, "SELECT DISTINCT jsonb_object_keys(attrs) FROM imported.lead")
        assert {"Tags", "Lead Quality", "Last Activity"}.isdisjoint({name for (name,) in names})

    def test_x_education_with_the_bans_lifted(self, database: Database) -> None:
        report = import_files(
            database, [DATA / "xeducation" / "Leads.csv"], "x_education", allow_banned=["all"]
        )
        assert len(report.allowed) == 9
        tags = rows(database, "SELECT count(*) FROM imported.lead WHERE attrs ->> 'Tags' IS NOT NULL")
        assert tags == [(5887,)]

    def test_the_damaged_file_names_line_and_rows_and_changes_nothing(self, database: Database) -> None:
        import_files(database, [DATA / "xeducation" / "Leads.csv"], "x_education")
        before = rows(database, "SELECT imported_at FROM imported.load")
        message = (
            r"line 24 has 1 field where the header has 37.*338 of 9,240 rows would be lost \(lines 24, 78"
        )
        with pytest.raises(ExportFileError, match=message):
            import_files(database, [DATA / "xeducation" / "Lead_Scoring_damaged.csv"], "x_education")
        assert rows(database, "SELECT imported_at FROM imported.load") == before

    def test_olist_has_its_real_delays(self, database: Database) -> None:
        names = ("olist_marketing_qualified_leads_dataset.csv", "olist_closed_deals_dataset.csv")
        report = import_files(database, [DATA / "olist" / name for name in names], "olist")
        assert (report.loaded["lead"], report.loaded["outcome"], report.findings) == (8000, 842, ())
        assert (report.clock, len(report.banned)) == ("2018-09-30", 11)
        sources, set_aside = read_sources(database, date(2018, 9, 30))
        assert set_aside.n_rows == 0
        won = sources.outcome.join(sources.lead, on="lead_id")
        assert won.height == 815
        assert (won["outcome_at"] - won["created_at"]).median() > timedelta(days=13)
        assert rows(database, "SELECT DISTINCT jsonb_object_keys(attrs) FROM imported.lead") == [
            ("landing_page_id",)
        ]
