import json
import logging
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from flows.adapters import embedded_postgres
from flows.adapters.logging import configure_logging, mask_passwords
from flows.cli import describe, main
from flows.commands.session import Answer

HEAVY = {"adbc_driver_postgresql", "mlflow", "numba", "pandas", "polars", "prefect", "psycopg", "sqlalchemy"}
COMMANDS = [
    "run", "nightly", "train", "score", "explain", "simulate", "import", "doctor", "warmup",
    "models list", "models show", "models promote", "models rollback",
    "db up", "db down", "db url", "db migrate", "db install-source", "db reset", "doctor court",
]  # fmt: skip


def command_line(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "flows", *arguments]


def run(*arguments: str, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command_line(*arguments), env=environment(home) | env, capture_output=True, text=True, timeout=120
    )


def environment(home: Path) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("LEADSCORE_", "PREFECT_"))
    }
    return kept | {"LEADSCORE_HOME": str(home)}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_page_teaches_by_an_example(command: str, capsys: pytest.CaptureFixture[str]):
    assert main([*command.split(), "--help"]) == 0
    page = capsys.readouterr().out
    assert "Example:" in page
    assert "--json" in page


def test_help_loads_nothing_heavy():
    code = "import sys; from flows.cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert not HEAVY & set(done.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["nightly", "--as-of", "tomorrow"],
        ["explain"],
        ["simulate", "--drift", "sideways"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().out == ""


def test_arguments_that_do_not_fit_together_end_with_2(capsys: pytest.CaptureFixture[str]):
    assert main(["simulate", "--drift", "concept", "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["error"] == "--drift and --drift-date go together: give both or neither"


def test_a_failure_is_one_json_object_without_the_password(tmp_path: Path):
    url = "postgresql://me:s3cret@127.0.0.1:1/crm"
    done = run("models", "list", "--json", home=tmp_path, LEADSCORE_DATABASE_URL=url)
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["status"] == "failed"
    assert "no Postgres answers at 127.0.0.1:1" in answer["error"]
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stdout + done.stderr


def test_debug_shows_the_traceback_without_the_password(tmp_path: Path):
    url = "postgresql://me:s3cret@127.0.0.1:1/crm"
    done = run("models", "list", "--debug", home=tmp_path, LEADSCORE_DATABASE_URL=url)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "s3cret" not in done.stderr + (tmp_path / "logs" / "leadscore.log").read_text()


def test_a_wrong_setting_is_named_as_the_variable(tmp_path: Path):
    done = run("doctor", home=tmp_path, LEADSCORE_HORIZON_DAYS="0")
    assert done.returncode == 1
    assert "LEADSCORE_HORIZON_DAYS='0'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_stops_what_it_started(tmp_path: Path, how: signal.Signals, status: int):
    home = tmp_path / "home"
    command = command_line("simulate", "--leads", "300000", "--json")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment(home), text=True, **pipes) as process:
        wait_until(lambda: embedded_postgres.server_pid(home) is not None)
        time.sleep(1.0)
        process.send_signal(how)
        answer, said = process.communicate(timeout=60)
    assert process.returncode == status
    assert json.loads(answer)["status"] == "stopped"
    assert "the last published scores are untouched" in said
    assert "Traceback" not in said
    assert embedded_postgres.server_pid(home) is None


def test_the_address_works_without_showing_the_password(tmp_path: Path):
    try:
        assert run("db", "up", home=tmp_path).returncode == 0
        done = run("db", "url", home=tmp_path)
        address = done.stdout.strip()
        with psycopg.connect(address) as connection:
            connection.execute("SELECT * FROM sales.prioritized_leads")
        connection.close()
        secret = (tmp_path / "postgres" / "password").read_text().strip()
        assert secret not in done.stdout + done.stderr
        assert stat.S_IMODE((tmp_path / "postgres" / "pgpass").stat().st_mode) == 0o600
        shown = json.loads(run("db", "url", "--show-password", "--json", home=tmp_path).stdout)
        assert secret in shown["url"]
    finally:
        assert run("db", "down", home=tmp_path).returncode == 0
    assert embedded_postgres.server_pid(tmp_path) is None


@pytest.mark.parametrize("verb", ["up", "down", "reset"])
def test_a_server_of_yours_is_neither_started_nor_stopped_nor_emptied(verb: str, tmp_path: Path):
    url = "postgresql://me@127.0.0.1:1/crm"
    done = run("db", verb, home=tmp_path, LEADSCORE_DATABASE_URL=url)
    assert done.returncode == 1
    assert "a server of yours" in done.stderr


def test_reset_asks_first(tmp_path: Path):
    done = run("db", "reset", home=tmp_path)
    assert done.returncode == 2
    assert "--yes" in done.stderr


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("at postgresql://me:s3cret@host/db now", "at postgresql://me:***@host/db now"),
        ("postgresql+psycopg://me:a%40b@h", "postgresql+psycopg://me:***@h"),
        ("password=s3cret host=x", "password=*** host=x"),
        ("{'password': 's3cret'}", "{'password': ***}"),
        ("https://example.org/a:b@c", "https://example.org/a:b@c"),
    ],
)
def test_passwords_are_masked(text: str, masked: str):
    assert mask_passwords(text) == masked


def test_a_defect_says_so_and_a_plain_failure_does_not():
    assert describe(KeyError("x")) == "unexpected KeyError: 'x'; this is a defect, please report it"
    assert describe(RuntimeError("no leads; import some")) == "no leads; import some"


def test_an_answer_is_strict_json(capsys: pytest.CaptureFixture[str]):
    Answer({"a": float("nan"), "b": [Path("/x")], "c": {1: True}}, None).print(as_json=True)
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": ["/x"], "c": {"1": True}}


@pytest.mark.usefixtures("logging_as_before")
def test_our_messages_are_shown_and_the_libraries_are_kept_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    configure_logging(tmp_path)
    logging.getLogger("flows.example").info("read %s rows from postgresql://me:s3cret@h/d", 3)
    logging.getLogger("some_library").info("a library's small talk")
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in (tmp_path / "logs" / "leadscore.log").read_text().splitlines()]
    assert out == ""
    assert "read 3 rows from postgresql://me:***@h/d" in err
    assert "small talk" not in err
    assert [line["event"] for line in lines][1] == "a library's small talk"
    assert "s3cret" not in err + str(lines)


def wait_until(condition, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s")
        time.sleep(0.05)
