"""Tell people: a webhook that takes Slack's JSON, and mail. Nothing here stops a night or prints a secret.

The addresses of both are secrets (a Slack webhook's URL is its password), and what urllib and smtplib say of
a failure may quote them: only the kind of failure and its number are logged.
"""

import http.client
import json
import logging
import smtplib
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from flows.adapters.database import Database
from flows.adapters.page_table import Page, mark_delivered, undelivered
from flows.adapters.settings import Settings

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10.0
WAITS_SECONDS = (1.0, 4.0)
"""Between three attempts; what fails then is tried again the next night."""

Send = Callable[[str, str], None]


def deliver_pages(
    database: Database, settings: Settings, waits: Sequence[float] = WAITS_SECONDS
) -> dict[str, bool]:
    """Send pages that a configured channel has not taken yet, one message per channel.

    Returns
    -------
    dict : channel -> whether it took them; channels with nothing to send are left out.
    """
    senders = _senders(settings)
    pages = undelivered(database, settings.model_key, list(senders)) if senders else []
    done = {}
    for channel, send in senders.items():
        fresh = [page for page in pages if channel not in page.delivered]
        if fresh:
            done[channel] = _attempt(channel, partial(send, *_message(settings, fresh)), waits)
            if done[channel]:
                mark_delivered(database, fresh, channel, datetime.now(UTC).isoformat(timespec="seconds"))
    return done


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses to follow: what follows a POST is a GET, which a login page answers and nobody reads."""

    def redirect_request(self, *_: Any) -> None:
        """Return None, which raises HTTPError."""


def post_webhook(url: SecretStr, text: str) -> None:
    """POST {"text": ...}, what Slack, Mattermost and others take.

    Raises
    ------
    ValueError
        The URL is not one of http or https.
    OSError
        It cannot be reached or does not answer with success; a redirect is none.
    """
    address = url.get_secret_value()
    if urlsplit(address).scheme not in ("http", "https"):
        raise ValueError("LEADSCORE_PAGE_WEBHOOK_URL must begin with https:// or http://")
    body = json.dumps({"text": text}).encode()
    request = urllib.request.Request(  # noqa: S310 - the scheme was looked at
        address, body, {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT_SECONDS) as answer:
        answer.read()


def send_mail(url: SecretStr, to: str, subject: str, text: str) -> None:
    """Send a mail over `smtp://user:password@host:port`, with STARTTLS where offered, or over `smtps://`.

    A password is only sent over an encrypted connection or to this machine.

    Parameters
    ----------
    to : one address or several, with commas.

    Raises
    ------
    ValueError
        The URL is not one of smtp or smtps.
    smtplib.SMTPException, OSError
        The server cannot be reached or refuses.
    """
    parts = urlsplit(url.get_secret_value())
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ValueError("LEADSCORE_SMTP_URL must look like smtp://USER:PASSWORD@HOST:PORT or smtps://...")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    message = EmailMessage()
    message["Subject"], message["To"] = subject, to
    message["From"] = user if "@" in user else f"leadscore@{parts.hostname}"
    message.set_content(text)
    with _mail_server(parts.scheme, parts.hostname, parts.port) as server:
        server.ehlo()
        is_private = parts.scheme == "smtps"
        if not is_private and server.has_extn("starttls"):
            server.starttls(context=ssl.create_default_context())
            server.ehlo()
            is_private = True
        if user:
            if not is_private and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
                raise ValueError("the mail server offers no encryption: no password is sent to it")
            server.login(user, password)
        server.send_message(message)


def _mail_server(scheme: str, host: str, port: int | None) -> smtplib.SMTP:
    if scheme == "smtps":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(host, port or 465, timeout=TIMEOUT_SECONDS, context=context)
    return smtplib.SMTP(host, port or 587, timeout=TIMEOUT_SECONDS)


def _senders(settings: Settings) -> dict[str, Send]:
    senders: dict[str, Send] = {}
    webhook, smtp, to = settings.page_webhook_url, settings.smtp_url, settings.page_mail_to
    if webhook is not None:
        senders["webhook"] = lambda subject, text: post_webhook(webhook, f"{subject}\n{text}")
    if smtp is not None and to:
        senders["mail"] = lambda subject, text: send_mail(smtp, to, subject, text)
    return senders


def _message(settings: Settings, pages: Sequence[Page]) -> tuple[str, str]:
    subject = f"leadscore: {settings.model_key} needs a look"
    return subject, "\n".join([*map(_line, pages), "What to do: docs/guides/monitoring.md"])


def _line(page: Page) -> str:
    end = ", has ended" if page.has_ended else ""
    return f"- {page.words} ({page.cause}, first seen on {page.first_seen}{end})"


def _attempt(channel: str, send: Callable[[], None], waits: Sequence[float]) -> bool:
    for wait in (*waits, None):
        try:
            send()
        except (OSError, http.client.HTTPException, smtplib.SMTPException, ValueError) as error:
            log.warning("a page could not be sent by %s: %s", channel, _describe(error))
            if wait is None or isinstance(error, ValueError | http.client.InvalidURL):
                return False
            time.sleep(wait)
        else:
            return True
    return False


def _describe(error: Exception) -> str:
    number = getattr(error, "code", None) or getattr(error, "smtp_code", None)
    return type(error).__name__ + (f" {number}" if isinstance(number, int) else "")
