"""Pages reach a webhook and a mail server, once; a receiver that fails is tried again and stops nothing."""

import json
import logging
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydantic import SecretStr

from flows.adapters.database import Database
from flows.adapters.notify import deliver_pages
from flows.adapters.page_table import (
    FAILED_NIGHT,
    FAILED_RETRAINING,
    QUIET_DAYS,
    record_pages,
    resolve_failures,
    resolve_gone,
    resolve_quiet,
)
from flows.adapters.score_runs import ROLE
from flows.adapters.settings import Settings
from flows.monitors.trigger import Trigger

DAY = date(2026, 5, 4)
FALL = Trigger(
    "T3", "T3 early wins fall", "search", "early wins are 38 % below what the model expects", 3, 0, True
)
HARM = Trigger("T2", "T2 loss at 7 days", "search", "loss is 20 % above its reference", 2, 0.2, True)


class Webhook(HTTPServer):
    """Takes Slack's JSON; answers 500, or another status, as often as told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hook)
        self.texts: list[str] = []
        self.fail_times = 0
        self.failure = 500

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"http://127.0.0.1:{self.server_port}/services/T0/B0/hush")


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fails = self.server.fail_times > 0
        self.server.fail_times -= fails
        if not fails:
            self.server.texts.append(body["text"])
        self.send_response(self.server.failure if fails else 200)
        if fails:
            self.send_header("Location", "/login")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


class MailServer(socketserver.ThreadingTCPServer):
    """As much SMTP as a sender needs; keeps what it was given."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Mail)
        self.mails: list[str] = []
        self.logins: list[str] = []
        self.refuses = False

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"smtp://robot:hush%21@127.0.0.1:{self.server_address[1]}")


class _Mail(socketserver.StreamRequestHandler):
    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def handle(self) -> None:
        self.say("220 here")
        while line := self.rfile.readline().decode().strip():
            word = line.split()[0].upper()
            if word == "EHLO":
                self.say("250-here")
                self.say("250 AUTH PLAIN")
            elif word == "AUTH":
                self.server.logins.append(line)
                self.say("235 welcome")
            elif word == "RCPT" and self.server.refuses:
                self.say("550 nobody of that name")
            elif word == "DATA":
                self.say("354 go on")
                self.server.mails.append(self._data())
                self.say("250 taken")
            elif word == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 fine")

    def _data(self) -> str:
        lines = []
        while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
            lines.append(line)
        return "\n".join(lines)


def serving(server: socketserver.BaseServer) -> Iterator[socketserver.BaseServer]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    yield from serving(Webhook())


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    yield from serving(MailServer())


@pytest.fixture(autouse=True)
def _no_pages(database: Database) -> Iterator[None]:
    yield
    with database.connect(autocommit=True) as connection:
        connection.execute("TRUNCATE scoring.page")


def page(
    database: Database, *triggers: Trigger, day: date = DAY, key: str = "lead-conversion"
) -> list[Trigger]:
    with database.connect(ROLE) as connection:
        return record_pages(connection, key, day, triggers)


def test_one_message_names_every_new_page_and_is_sent_once(database, webhook):
    settings = Settings(page_webhook_url=webhook.url)
    page(database, FALL, HARM)
    assert deliver_pages(database, settings) == {"webhook": True}
    (text,) = webhook.texts
    assert text.startswith("leadscore: lead-conversion needs a look\n")
    assert FALL.reason in text
    assert HARM.cause in text
    assert deliver_pages(database, settings) == {}
    assert len(webhook.texts) == 1


def test_a_cause_opens_one_page_however_often_it_comes_and_another_once_that_is_closed(database):
    assert page(database, FALL) == [FALL]
    assert page(database, FALL) == []
    assert page(database, FALL, day=date(2026, 6, 8)) == []
    with database.connect() as connection:
        query = "SELECT first_seen, last_seen, times_seen FROM scoring.page"
        assert connection.execute(query).fetchall() == [(DAY, date(2026, 6, 8), 2)]
    with database.connect(ROLE) as connection:
        resolve_quiet(connection, "lead-conversion", date(2026, 6, 8))
        resolve_quiet(
            connection, "lead-conversion", date.fromordinal(date(2026, 6, 8).toordinal() + QUIET_DAYS)
        )
    assert page(database, FALL, day=date(2026, 12, 1)) == [FALL]


def test_models_page_apart(database):
    assert page(database, FALL) == page(database, FALL, key="another") == [FALL]


def test_a_failing_webhook_is_tried_again_and_its_url_is_never_logged(database, webhook, caplog):
    settings = Settings(page_webhook_url=webhook.url)
    page(database, FALL)
    webhook.fail_times = 4
    with caplog.at_level(logging.DEBUG):
        assert deliver_pages(database, settings, waits=(0.0, 0.0)) == {"webhook": False}
        assert deliver_pages(database, settings, waits=(0.0, 0.0)) == {"webhook": True}
    assert len(webhook.texts) == 1
    assert caplog.text.count("could not be sent by webhook: HTTPError 500") == 4
    assert "hush" not in caplog.text
    assert "127.0.0.1" not in caplog.text


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_no_delivery(database, webhook, caplog, status):
    """A login page that answers the GET after it has not read the page."""
    page(database, FALL)
    webhook.fail_times, webhook.failure = 1, status
    settings = Settings(page_webhook_url=webhook.url)
    assert deliver_pages(database, settings, waits=()) == {"webhook": False}
    assert f"HTTPError {status}" in caplog.text
    assert deliver_pages(database, settings, waits=()) == {"webhook": True}


def resolve(database: Database, by: str, days_ago: int = 0) -> None:
    with database.connect(ROLE) as connection:
        statement = (
            "UPDATE scoring.page SET resolved_by = %s, resolved_at = now() - make_interval(days => %s)"
        )
        connection.execute(statement, [by, days_ago])


def test_a_page_whose_alarm_ended_before_it_could_be_sent_is_sent_all_the_same(database, webhook):
    """The webhook was down on the paging night; the next night finds no alarm."""
    settings = Settings(page_webhook_url=webhook.url)
    volume = replace(FALL, monitor="T1", cause="T1 volume lead")
    failed = replace(FALL, monitor=FAILED_NIGHT, cause="night failed: OSError")
    retraining = replace(FALL, monitor=FAILED_RETRAINING, cause="retraining failed: OSError")
    page(database, volume, failed, retraining)
    webhook.fail_times = 1
    assert deliver_pages(database, settings, waits=()) == {"webhook": False}
    with database.connect(ROLE) as connection:
        resolve_gone(connection, "lead-conversion", [])
        resolve_failures(connection, "lead-conversion", DAY, FAILED_NIGHT)
        resolve_failures(connection, "lead-conversion", DAY, FAILED_RETRAINING)
    assert deliver_pages(database, settings) == {"webhook": True}
    (text,) = webhook.texts
    assert "(T1 volume lead, first seen on 2026-05-04, has ended)" in text
    assert "(night failed: OSError, first seen on 2026-05-04, has ended)" in text
    assert "(retraining failed: OSError, first seen on 2026-05-04, has ended)" in text
    assert deliver_pages(database, settings) == {}


@pytest.mark.parametrize(("by", "days_ago"), [("ann", 0), ("the alarm has ended", 8)])
def test_pages_closed_by_hand_or_ended_long_ago_are_not_sent(database, webhook, by, days_ago):
    page(database, FALL)
    resolve(database, by, days_ago)
    assert deliver_pages(database, Settings(page_webhook_url=webhook.url)) == {}


def test_a_receiver_that_is_gone_stops_nothing(database, caplog):
    settings = Settings(page_webhook_url=SecretStr("http://127.0.0.1:9/hush"))
    page(database, FALL)
    assert deliver_pages(database, settings, waits=(0.0,)) == {"webhook": False}
    assert "hush" not in caplog.text


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://127.0.0.1:9/hush hush"])
def test_an_address_that_is_none_is_tried_once(database, caplog, url):
    settings = Settings(page_webhook_url=SecretStr(url))
    page(database, FALL)
    assert deliver_pages(database, settings, waits=(0.0, 0.0)) == {"webhook": False}
    assert caplog.text.count("could not be sent") == 1
    assert "hush" not in caplog.text


def test_mail_goes_to_everybody_named_beside_the_webhook(database, webhook, mail_server):
    settings = Settings(
        page_webhook_url=webhook.url,
        smtp_url=mail_server.url,
        page_mail_to="ann@example.org, bob@example.org",
    )
    page(database, FALL)
    assert deliver_pages(database, settings) == {"webhook": True, "mail": True}
    (mail,) = mail_server.mails
    assert "To: ann@example.org, bob@example.org" in mail
    assert "Subject: leadscore: lead-conversion needs a look" in mail
    assert FALL.reason in mail
    assert len(mail_server.logins) == 1


def test_a_channel_that_failed_is_tried_the_next_night_the_other_is_not(
    database, webhook, mail_server, caplog
):
    settings = Settings(
        page_webhook_url=webhook.url, smtp_url=mail_server.url, page_mail_to="ann@example.org"
    )
    page(database, FALL)
    mail_server.refuses = True
    assert deliver_pages(database, settings, waits=(0.0,)) == {"webhook": True, "mail": False}
    mail_server.refuses = False
    assert deliver_pages(database, settings) == {"mail": True}
    assert "hush" not in caplog.text
    assert len(webhook.texts) == len(mail_server.mails) == 1


def test_without_a_channel_nothing_is_sent(database):
    page(database, FALL)
    assert deliver_pages(database, Settings()) == {}


def test_secrets_may_come_from_files(tmp_path, monkeypatch):
    (tmp_path / "hook").write_text("https://hooks.example.org/hush\n")
    monkeypatch.setenv("LEADSCORE_PAGE_WEBHOOK_URL_FILE", str(tmp_path / "hook"))
    settings = Settings()
    assert settings.page_webhook_url.get_secret_value() == "https://hooks.example.org/hush"
    assert "hush" not in repr(settings)
