"""SQL text, by path."""

from importlib.resources import files


def load(name: str) -> str:
    """Text of one SQL file, such as `staging/stg_lead.sql`.

    Raises
    ------
    FileNotFoundError : there is no such file.
    """
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def names(folder: str) -> list[str]:
    """Paths of the SQL files directly in a folder, in order of name; empty if there is no such folder."""
    place = files(__name__).joinpath(folder)
    if not place.is_dir():
        return []
    return sorted(f"{folder}/{entry.name}" for entry in place.iterdir() if entry.name.endswith(".sql"))
