"""What goes and what stays when a subject is taken out of texts, files and SQLite databases."""

import json
import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.adapters.erasure_files import erase_from_home
from flows.redaction import Subject, without_in_html, without_in_json, without_in_text, without_lines

LEAD = "00Q000042"
SUBJECT = Subject([LEAD, "lead-0043"])


def test_a_list_loses_the_element_a_record_its_value():
    value = {
        "set_aside": [{"frame": "stage", "sample_ids": [LEAD, "other"]}],
        "top": [{"lead_id": LEAD, "company": "acme.com"}, {"lead_id": "other", "company": "b.com"}],
        "detail": {"lead": "lead-0043", "n": 3},
        "error": f"lead {LEAD} is broken",
        "n": 7,
    }
    assert without_in_json(value, SUBJECT) == {
        "set_aside": [{"frame": "stage", "sample_ids": ["other"]}],
        "top": [{"lead_id": "other", "company": "b.com"}],
        "detail": None,
        "error": None,
        "n": 7,
    }


def test_a_key_that_names_the_subject_goes_with_its_value():
    assert without_in_json({"by_lead": {LEAD: 1, "other": 2}}, SUBJECT) == {"by_lead": None}
    assert without_in_json({LEAD: 1, "other": 2}, SUBJECT) == {"other": 2}


def test_a_page_loses_the_row_with_the_name_and_the_reasons():
    page = (
        f"<table><tr><td>1</td><td>CTO, acme<div>{LEAD}</div></td></tr><tr><td>2</td><td>b</td></tr></table>"
    )
    assert without_in_html(page, SUBJECT) == "<table><tr><td>2</td><td>b</td></tr></table>"
    assert without_in_html(f"<h1>{LEAD}</h1>", SUBJECT) == "<h1>(erased)</h1>"


def test_a_log_loses_the_line():
    assert without_lines(f"one\ntwo {LEAD}: bad\nthree\n", SUBJECT) == "one\nthree\n"


@pytest.mark.parametrize("text", [f"{LEAD}7", f"x{LEAD}", "lead-00431", "my-lead-0043", f"{LEAD}_b"])
def test_another_id_that_begins_or_ends_alike_stays(text):
    assert without_in_text(text, SUBJECT) == text


def test_a_short_number_is_an_id_only_as_a_whole_value():
    subject = Subject(["42"])
    assert without_in_text("42 rows in 42 s", subject) == "42 rows in 42 s"
    assert without_in_text("42", subject) == "(erased)"
    assert without_in_json({"n": 42, "sample_ids": ["42", "7"]}, subject) == {"n": 42, "sample_ids": ["7"]}
    assert without_in_html("<tr><td>7</td><div>42</div></tr>", subject) == ""


@given(st.text(min_size=1, max_size=12), st.lists(st.text(max_size=8), max_size=3))
def test_no_spelling_of_an_id_survives_in_json(name, others):
    kept = [text for text in others if name not in text]
    key = "longer than any name"
    text = json.dumps({key: [name, *kept]})
    assert json.loads(without_in_text(text, Subject([name])))[key] == kept


def test_files_and_sqlite_files_are_searched_to_the_bytes(tmp_path):
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "16384").write_text(LEAD)
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "lead_model.json").write_text(json.dumps({"levels": ["a", LEAD, "b"]}))
    (tmp_path / "mlflow" / "trees.pkb").write_bytes(b"\xff\xfe" + LEAD.encode())
    with closing(sqlite3.connect(tmp_path / "prefect.db")) as connection, connection:
        connection.execute("CREATE TABLE artifact (data JSON, note TEXT)")
        connection.execute(
            "INSERT INTO artifact VALUES (?, ?)",
            [json.dumps([{"lead_id": LEAD}, {"lead_id": "other"}]), LEAD],
        )
    counts, not_reached = erase_from_home(tmp_path, SUBJECT)
    assert counts == {"files mlflow": 1, "file prefect.db": 2}
    assert not_reached == ["mlflow/trees.pkb: not text, and holds the id: left as it is"]
    assert json.loads((tmp_path / "mlflow" / "lead_model.json").read_text())["levels"] == [
        "a",
        "(erased)",
        "b",
    ]
    assert LEAD.encode() not in (tmp_path / "prefect.db").read_bytes()
    with closing(sqlite3.connect(tmp_path / "prefect.db")) as connection:
        assert connection.execute("SELECT * FROM artifact").fetchall() == [
            ('[{"lead_id": "other"}]', "(erased)")
        ]
    assert (tmp_path / "postgres" / "16384").read_text() == LEAD
    assert erase_from_home(tmp_path, SUBJECT)[0] == {}
