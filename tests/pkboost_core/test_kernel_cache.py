"""Compiling: said once, done by one process at a time, complete after warming up, and tidied away."""

import os
import pkgutil
import subprocess
import sys
from importlib import import_module

import pytest
from numba import types

import pkboost_core
from pkboost_core import kernel_cache
from pkboost_core.compiled import KERNELS, Kernel, is_jit_enabled

needs_jit = pytest.mark.skipif(not is_jit_enabled(), reason="nothing is compiled")

SMALL = """
import numpy as np
from numba import types
from pkboost_core.compiled import kernel

@kernel(types.void(types.float64[::1]))
def double(values):
    for i in range(len(values)):
        values[i] *= 2.0

values = np.arange(3.0)
double(values)
print(values.sum())
"""


def processes(tmp_path, n, **environment):
    """Run `n` processes with an empty cache at the same time; return what each wrote."""
    (tmp_path / "small.py").write_text(SMALL)
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    started = [
        subprocess.Popen(
            [sys.executable, tmp_path / "small.py"],
            env=os.environ | cache | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(n)
    ]
    written = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0] * n, written
    return written


@needs_jit
def test_two_processes_can_compile_at_once_and_say_where_to(tmp_path):
    written = processes(tmp_path, 2)
    assert [out for out, _ in written] == ["6.0\n"] * 2
    (said,) = {err for _, err in written if err}
    assert said.startswith("pkboost: compiling for this machine, up to half a minute, kept in ")
    assert said.count("\n") == 1
    assert processes(tmp_path, 1) == [("6.0\n", "")]


def test_nothing_is_said_without_the_compiler(tmp_path):
    assert processes(tmp_path, 1, NUMBA_DISABLE_JIT="1") == [("6.0\n", "")]
    assert not (tmp_path / "cache").exists()


HOLD = """
import sys, time
from pathlib import Path
from pkboost_core.kernel_cache import alone_in
with alone_in(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(kernel_cache.fcntl is None, reason="files cannot be locked here")
def test_who_comes_second_waits(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **streams) as first:
        assert first.stdout.readline() == "in\n"
        with (tmp_path / "lock").open("w") as file, pytest.raises(BlockingIOError):
            kernel_cache.fcntl.flock(file, kernel_cache.fcntl.LOCK_EX | kernel_cache.fcntl.LOCK_NB)
        first.stdin.close()
    with kernel_cache.alone_in(tmp_path):
        pass


def test_folders_that_nobody_used_for_long_are_removed(tmp_path):
    names = "pkboost-0123456789abcdef", "pkboost-1123456789abcdef", "pkboost-mine", "pkboost-2123456789abcdef"
    current, *others = (tmp_path / name for name in names)
    for folder in (current, *others):
        folder.mkdir()
        (folder / "kernel.nbi").touch()
    now = current.stat().st_mtime
    for folder, days in zip(others, (31, 99, 29), strict=True):
        os.utime(folder, (now - days * 86_400,) * 2)
    kernel_cache.remove_unused(current)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == sorted(set(names) - {names[1]})


def test_using_a_folder_shows(tmp_path):
    os.utime(tmp_path, (0, 0))
    with kernel_cache.alone_in(tmp_path):
        assert tmp_path.stat().st_mtime > 0


def test_the_package_imports_every_kernel_that_it_has():
    known = len(KERNELS)
    for module in pkgutil.iter_modules(pkboost_core.__path__):
        import_module(f"pkboost_core.{module.name}")
    assert len(KERNELS) == known


AFTER = """
import numpy as np
from numba.core import event
from pkboost_core import PKBoostClassifier, PKBoostRegressor, warm_up

warm_up()
X = np.random.default_rng(0).normal(size=(300, 3))
options = {"n_estimators": 2, "linear_leaves": True, "cross_features": True, "mode": "quality"}
with event.install_recorder("numba:compile") as compiled:
    model = PKBoostClassifier(**options, n_threads=2).fit(X, X[:, 0] > X[:, 1], np.ones(300))
    model.predict_proba(X), model.shap_values(X), model.apply(X)
    PKBoostRegressor(loss="quantile", n_estimators=2).fit(X, X[:, 0]).predict(X)
print(model.ensemble_.nodes["n_terms"].any(), len(compiled.buffer))
"""


@needs_jit
def test_after_warming_up_nothing_is_left_to_compile():
    run = subprocess.run([sys.executable, "-c", AFTER], capture_output=True, text=True, check=True)
    assert run.stdout == "True 0\n"
    assert run.stderr == ""


def _nothing():
    pass


@needs_jit
def test_a_kernel_without_a_folder_to_keep_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr("pkboost_core.compiled.cache_directory", lambda: None)
    Kernel(_nothing, [types.void()], fastmath=False)()
    expected = "and not kept: no folder for it can be written to; set NUMBA_CACHE_DIR to one that can\n"
    assert capsys.readouterr().err.endswith(expected)
