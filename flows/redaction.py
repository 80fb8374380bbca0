"""Take a subject out of what was written: JSON, HTML, logs and plain text, pure functions of text.

What names the subject goes with all that is said of it: the element of a list, the row of a table, the line
of a log. What cannot go because others hang on its place is overwritten.
"""

import json
import re
from collections.abc import Collection
from html import escape
from typing import Any

ERASED = "(erased)"
_ROW = re.compile(r"<(tr|li|p)\b[^>]*>(?:(?!<\1\b).)*?</\1>", re.DOTALL)
_GONE = object()


class Subject:
    """Finds the ids of one person in text.

    Parameters
    ----------
    ids : the ids of a lead and of everybody merged with it.

    Notes
    -----
    An id such as 42 is a number like any other: it is only recognised as a whole value, in quotes or between
    tags. Ids of six characters or more that are not all digits, or of nine digits, are found in any text.
    """

    def __init__(self, ids: Collection[str]) -> None:
        self.ids = frozenset(name for name in ids if name)
        self._anywhere = _any_of(_spellings(name) for name in self.ids if is_distinctive(name))
        self._whole = _any_of(_spellings(name) for name in self.ids if not is_distinctive(name))
        self._pattern = re.compile(
            rf"(?<![\w-])(?:{self._anywhere})(?![\w-])|(?<=[\"'>])(?:{self._whole})(?=[\"'<])"
        )

    @property
    def spellings(self) -> list[str]:
        """Every way an id may be written: a text that holds none of them need not be looked at."""
        return sorted({text for name in self.ids for text in _spellings(name)})

    def is_named_in(self, text: str) -> bool:
        """Whether the text names the subject."""
        return text in self.ids or self._pattern.search(text) is not None

    def overwritten(self, text: str) -> str:
        """Put `(erased)` in place of every mention."""
        return ERASED if text in self.ids else self._pattern.sub(ERASED, text)


def is_distinctive(name: str) -> bool:
    """Whether an id can be told from other words and numbers in running text."""
    return len(name) >= 9 or (len(name) >= 6 and not name.isdigit())


def without_in_json(value: Any, subject: Subject) -> Any:
    """Return JSON without what names the subject: list elements go whole, other values become null."""
    if isinstance(value, dict):
        kept = {name: _pruned(item, subject) for name, item in value.items() if not subject.is_named_in(name)}
        return {name: None if item is _GONE else item for name, item in kept.items()}
    pruned = _pruned(value, subject)
    return None if pruned is _GONE else pruned


def _pruned(value: Any, subject: Subject) -> Any:
    if isinstance(value, str):
        return _GONE if subject.is_named_in(value) else value
    if isinstance(value, list):
        return [kept for item in value if (kept := _pruned(item, subject)) is not _GONE]
    if not isinstance(value, dict):
        return value
    if any(subject.is_named_in(text) for text in (*value, *value.values()) if isinstance(text, str)):
        return _GONE
    return without_in_json(value, subject)


def without_in_text(text: str, subject: Subject) -> str:
    """Return text without the subject: JSON where it is JSON, HTML by its rows, all else overwritten."""
    if not subject.is_named_in(text):
        return text
    if text.lstrip().startswith(("{", "[")):
        try:
            return json.dumps(without_in_json(json.loads(text), subject))
        except json.JSONDecodeError:
            return subject.overwritten(text)
    return without_in_html(text, subject) if "</" in text else subject.overwritten(text)


def without_in_html(text: str, subject: Subject) -> str:
    """Return HTML without the table rows, list items and paragraphs that name the subject."""
    rows_gone = _ROW.sub(lambda found: "" if subject.is_named_in(found[0]) else found[0], text)
    return subject.overwritten(rows_gone)


def without_lines(text: str, subject: Subject) -> str:
    """Return a log, or any file of one record per line, without the lines that name the subject."""
    return "".join(line for line in text.splitlines(keepends=True) if not subject.is_named_in(line))


def _spellings(name: str) -> set[str]:
    """As it is, in HTML, and in JSON with and without escapes beyond ASCII."""
    return {name, escape(name), json.dumps(name)[1:-1], json.dumps(name, ensure_ascii=False)[1:-1]}


def _any_of(spellings: Any) -> str:
    found = sorted({text for several in spellings for text in several}, key=len, reverse=True)
    return "|".join(map(re.escape, found)) or r"(?!)"
