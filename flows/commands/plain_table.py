"""One look for the tables of all commands: no lines, words on the left, numbers on the right."""

from collections.abc import Collection

from rich.table import Table


def plain_table(*columns: str, words: Collection[str], title: str | None = None) -> Table:
    """Return an empty table; columns named in `words` hold text, which may fold, the others numbers."""
    table = Table(box=None, padding=(0, 1), title=title, title_justify="left")
    for column in columns:
        if column in words:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, justify="right", no_wrap=True)
    return table
