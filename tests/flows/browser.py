"""A page as a real browser draws it, at a given width."""

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path

import pytest

PHONE, DESK = 390, 1280
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_PROBE = """
<script>addEventListener("load", () => {
  const frame = document.querySelector("iframe"), page = frame.contentDocument.documentElement;
  document.body.dataset.found = JSON.stringify({wide: page.scrollWidth, tall: page.scrollHeight});
});</script>
"""


def browser() -> str:
    """Path of Chromium; the test is skipped, and says so, where there is none."""
    found = next((path for path in map(shutil.which, _NAMES) if path), None)
    if found is None:
        pytest.skip("no Chromium on PATH: the page is not looked at in a browser (apt-get install chromium)")
    return found


def look_at(page: str, width: int, folder: Path) -> dict[str, int]:
    """Draw `page` in a window of `width` pixels; return how wide and tall it came out.

    The picture lies in `folder` as `<width>.png`. The page stands in a frame, because Chromium's own windows
    are no narrower than 500 pixels.
    """
    framed = folder / f"{width}.html"
    style = "margin:0;border:0;display:block"
    frame = (
        f'<iframe srcdoc="{escape(page, quote=True)}" style="{style};width:{width}px;height:1600px"></iframe>'
    )
    framed.write_text(f'<!doctype html><body style="{style}">{frame}{_PROBE}</body>', encoding="utf-8")
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--user-data-dir={folder / 'profile'}", f"--window-size={max(width, 500)},1600"]
    shot = [*command, f"--screenshot={folder / f'{width}.png'}", framed.as_uri()]
    subprocess.run(shot, check=True, capture_output=True, timeout=90)
    dumped = [*command, "--virtual-time-budget=2000", "--dump-dom", framed.as_uri()]
    dom = subprocess.run(dumped, check=True, capture_output=True, text=True, timeout=90).stdout
    found = re.search(r'data-found="([^"]+)"', dom)
    if found is None:
        raise AssertionError(f"the page did not load in {command[0]}: {dom[:500]}")
    return json.loads(unescape(found[1]))
