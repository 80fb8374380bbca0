"""How the core compiles: lazily, once per machine, never stale and never a reason for an import to fail.

Kernels compile at their first call and are cached in a directory named after a hash of the package's sources:
numba's own stamp covers one file only, so an edited helper in another module would go unnoticed.
"""

import functools
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core import config as numba_config
from numba.extending import intrinsic

from pkboost_core.kernel_cache import alone_in, cache_directory, holds, remove_unused

SAFE_MATH = {"nsz", "arcp", "contract", "afn", "reassoc"}
"""Fast-math flags that keep NaN and infinity meaningful, for loops whose last bit does not matter."""

_CONFIG: Any = numba_config
_COMPILE_LOCK = threading.RLock()
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}
_HELPER_OPTIONS = _OPTIONS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Wrappers that nobody calls took a fifth of the time to compile."""


def is_jit_enabled() -> bool:
    """Whether kernels are machine code (False under NUMBA_DISABLE_JIT=1)."""
    return not _CONFIG.DISABLE_JIT


@intrinsic
def _prefetch(typing_context, array, index):
    """Load the cache line of `array[index]` ahead of its use."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte_pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        address = builder.bitcast(builder.gep(data, [arguments[1]]), byte_pointer)
        kind = ir.FunctionType(ir.VoidType(), [byte_pointer, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [address, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, index), generate


def _no_prefetch(array, index):
    """Do nothing: what a prefetch amounts to without compilation."""


prefetch = _prefetch if is_jit_enabled() else _no_prefetch
"""prefetch(array, index): start loading `array[index]`, one-dimensional and contiguous."""


def as_records(array: np.ndarray) -> np.ndarray:
    """View a structured array so that kernels can write `array[i].field`, compiled or not."""
    return array if is_jit_enabled() else array.view(np.recarray)


def helper(function: Callable) -> Any:
    """Mark a function that only compiled functions call: from Python it would crash, having no wrapper."""
    return numba.njit(**_HELPER_OPTIONS)(function)


def inlined(function: Callable) -> Any:
    """Mark a helper that is pasted into its callers: what many levels call is compiled anew at each."""
    return numba.njit(inline="always", **_OPTIONS)(function)


def fast_helper(function: Callable) -> Any:
    """Mark a helper whose floating-point operations may be reordered and fused."""
    return numba.njit(fastmath=SAFE_MATH, **_OPTIONS)(function)


class Kernel:
    """A compiled entry point: releases the interpreter lock, has one or a few fixed signatures."""

    def __init__(self, function: Callable, signatures: list[Any], fastmath: bool) -> None:
        self.function = function
        self._signatures = signatures
        self._fastmath = SAFE_MATH if fastmath else False
        self._compiled: Any = None
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any) -> Any:
        """Run, compiling or loading from the cache first when this is the first call."""
        if self._compiled is None:
            self.compile(announce)
        return self._compiled(*args)

    def compile(self, before: Callable[[Path | None], object] | None = None) -> None:
        """Compile now, or load from the cache; `before` is told the directory of one without the kernel."""
        with _COMPILE_LOCK:
            if self._compiled is None:
                self._compiled = self._build(before) if is_jit_enabled() else self.function

    def _build(self, before: Callable[[Path | None], object] | None) -> Any:
        directory = cache_directory()
        if not holds(directory, self.function):
            if directory is not None:
                remove_unused(directory)
            if before is not None:
                before(directory)
        previous = _CONFIG.CACHE_DIR
        try:
            _CONFIG.CACHE_DIR = str(directory or "")
            with alone_in(directory):
                return numba.njit(
                    self._signatures, cache=directory is not None, fastmath=self._fastmath, **_OPTIONS
                )(self.function)
        finally:
            _CONFIG.CACHE_DIR = previous


@functools.cache
def announce(directory: Path | None) -> None:
    """Say, once a process, why the first fit on a machine takes its time."""
    kept = f"kept in {directory}" if directory else "and not kept: no folder for it can be written to"
    how = "run `leadscore warmup` to do it ahead" if directory else "set NUMBA_CACHE_DIR to one that can"
    line = f"pkboost: compiling for this machine, up to half a minute, {kept}; {how}"
    print(line, file=sys.stderr, flush=True)


KERNELS: list[Kernel] = []
"""Every entry point, in order of definition: what `warm_up` compiles."""


def kernel(*signatures: Any, fastmath: bool = False) -> Callable[[Callable], Kernel]:
    """Declare a compiled entry point with its signatures."""

    def declare(function: Callable) -> Kernel:
        declared = Kernel(function, list(signatures), fastmath)
        KERNELS.append(declared)
        return declared

    return declare


def warm_up() -> None:
    """Compile every kernel, or load them from the cache; importing the package declares them all."""
    for declared in KERNELS:
        declared.compile()
