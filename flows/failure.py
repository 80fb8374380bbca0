"""Errors in words that may be shown to people: one line, short, without passwords."""

from flows.adapters.logging import mask_passwords

LONGEST = 300


def in_words(error: BaseException) -> str:
    """Return kind and first line of an error: what a database adds below it may quote somebody's row."""
    said = mask_passwords(str(error)).strip().partition("\n")[0][:LONGEST]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
