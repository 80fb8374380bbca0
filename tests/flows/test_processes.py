import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.adapters.memory import PeakMemory, not_counted
from flows.adapters.processes import Child, free_port

MIB = 1 << 20
PARENT = """
import sys, time
from pathlib import Path
from flows.adapters.processes import Child
child = Child("http.server", ["--bind", "127.0.0.1", sys.argv[1]], Path(sys.argv[2]), {})
print(child.pid, flush=True)
time.sleep(60)
"""
HOLD_MEMORY = (
    "import sys; held = b'1' * (int(sys.argv[1]) << 20); print('ready', flush=True); sys.stdin.read()"
)


@pytest.fixture
def web_server(tmp_path: Path):
    child = Child("http.server", ["--bind", "127.0.0.1", str(free_port())], tmp_path / "web.log", os.environ)
    yield child
    child.stop()


def is_gone(pid: int, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path, how: signal.Signals):
    command = [sys.executable, "-c", PARENT, str(free_port()), str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.send_signal(how)
        parent.wait()
        assert is_gone(pid)


def test_stopping_twice_is_harmless(web_server: Child):
    web_server.stop()
    web_server.stop()
    assert web_server.exit_code is not None


def test_ctrl_c_in_our_terminal_does_not_reach_the_child(web_server: Child):
    assert os.getpgid(web_server.pid) != os.getpgid(0)


def test_log_tail_holds_only_what_was_written_since_the_start(tmp_path: Path):
    log = tmp_path / "log"
    log.write_text("of an earlier start\n")
    child = Child("no_such_module_at_all", [], log, os.environ)
    assert is_gone(child.pid)
    assert child.exit_code not in (0, None)
    child.stop()
    assert "no_such_module_at_all" in child.log_tail()
    assert "earlier" not in child.log_tail()
    assert log.read_text().startswith("of an earlier start")


def test_a_log_that_was_moved_away_has_no_tail(web_server: Child):
    web_server.log.rename(web_server.log.with_suffix(".1"))
    assert web_server.log_tail() == ""


def test_a_free_port_can_be_listened_on():
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert 20_000 <= port < 30_000


@pytest.fixture
def hungry_child():
    command = [sys.executable, "-c", HOLD_MEMORY, "200"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.communicate()


def test_peak_counts_what_was_held_and_released():
    with PeakMemory(sample_seconds=0.01) as memory:
        before = memory.peak_rss_mb
        held = b"1" * (300 * MIB)
        time.sleep(0.1)
        del held
    assert memory.peak_rss_mb > before + 250


def test_peak_counts_children(hungry_child: subprocess.Popen):
    own = psutil.Process().memory_info().rss / MIB
    with PeakMemory() as memory:
        pass
    assert memory.peak_rss_mb > own + 190


def test_peak_leaves_servers_out(hungry_child: subprocess.Popen):
    own = psutil.Process().memory_info().rss / MIB
    with not_counted(hungry_child.pid), PeakMemory() as memory:
        pass
    assert memory.peak_rss_mb < own + 150
