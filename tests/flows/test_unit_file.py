"""The systemd unit, as systemd itself reads it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deployments" / "leadscore.service"
MOST_EXPOSED = 20
"""Tenths of the exposure that `systemd-analyze security` gives; without any confinement it is 96."""

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")


@pytest.fixture
def unit(tmp_path):
    """The unit with a program that is there."""
    text = UNIT.read_text()
    assert "/opt/leadscore/.venv/bin/leadscore up" in text
    path = tmp_path / UNIT.name
    path.write_text(text.replace("/opt/leadscore/.venv/bin/leadscore", sys.executable))
    return path


def analyze(*arguments):
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )


def test_systemd_understands_every_line(unit):
    done = analyze("verify", "--man=no", unit)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_line_that_is_none_would_be_seen(unit):
    unit.write_text(unit.read_text().replace("KillMode=mixed", "KillMode=gently"))
    assert "gently" in analyze("verify", "--man=no", unit).stderr


def test_the_service_is_confined(unit):
    done = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", unit)
    assert done.returncode == 0, done.stdout[-500:]
