"""`leadscore simulate`, `import`: a source put in place after another one's scores."""

from datetime import date, timedelta

import pytest

from flows.adapters.migrations import night_date
from flows.cli import main

END = date(2026, 5, 31)


@pytest.fixture
def simulate(settings, monkeypatch, logging_as_before, capsys):
    """Run the command up to a day; what it says on stderr."""
    monkeypatch.setenv("LEADSCORE_HOME", str(settings.home))
    monkeypatch.setenv("LEADSCORE_DATABASE_URL", settings.database_url.get_secret_value())

    def run(end: date) -> str:
        arguments = ["simulate", "--leads", "200", "--months", "3", "--end", str(end), "--json"]
        assert main(arguments) == 0
        return capsys.readouterr().err

    return run


def test_scores_that_are_newer_or_of_another_source_are_told(settings, database, owner, simulate):
    assert "published scores" not in simulate(END)
    owner.execute(
        "INSERT INTO scoring.score_run (model_key, as_of_date, state) VALUES (%s, %s, 'published')",
        [settings.model_key, END],
    )
    assert "published scores" not in simulate(END)
    said = simulate(END - timedelta(days=1))
    assert f"of {END} are newer than {END - timedelta(days=1)}" in said
    assert "LEADSCORE_MODEL_KEY" in said
    owner.execute("UPDATE leadscore.source SET adapter = 'imported'")
    assert f"of {END} come from another source" in simulate(END)


def test_the_latest_night_is_todays_by_the_datas_clock_or_the_calendar(database, owner, simulate):
    simulate(END)
    far = date(2100, 1, 1)
    owner.execute("UPDATE leadscore.source SET clock = %s", [far])
    assert night_date(database, far) == night_date(database, None) == far
    with pytest.raises(ValueError, match="2100-01-01 by the data's own clock"):
        night_date(database, far + timedelta(days=1))
