"""Pages that open offline: one file of HTML with everything in it, in the looks that all pages share."""

from pathlib import Path
from string import Template

_FOLDER = Path(__file__).parent


def fill(template: str, **parts: str) -> str:
    """Return a template of this folder as a page.

    Parameters
    ----------
    parts : what stands for `$name`, HTML already escaped; `$head` is filled in here.

    Raises
    ------
    KeyError
        The template has a name without a part.
    """
    head = Template((_FOLDER / "page_head.html").read_text(encoding="utf-8")).substitute(title=parts["title"])
    page = Template((_FOLDER / template).read_text(encoding="utf-8"))
    return page.substitute(parts, head=head)
