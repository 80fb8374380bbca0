"""Threads that grow one tree together: shared jobs cut into chunks, taken by an atomic counter.

The thread that grows a tree publishes a job where a node is large enough; helpers spin on one word for a
while, then sleep. A chunk belongs to whoever takes it first, so a helper that the machine has descheduled
costs nothing unless it holds one. Sums are integers: which thread adds what never shows in a model.

The word holds `sequence << 40 | n_chunks << 20 | taken from the back << 10 | taken from the front`: one
atomic addition takes a chunk, and the word alone says whether there was one left. A job's facts may be read
after that, because its publisher waits until all its chunks are done before it writes others.

Every second thread takes chunks from the back: rows that it moves there are its own again when the next job
comes to them. Two processors need not share a cache, and what one wrote the other gets slowly.
"""

import os
import platform
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pkboost_core.compiled import helper

WORD, DONE, CLOSED = 0, 16, 32
"""Places in `Team.control`, each in cache lines of its own."""

BACK, CHUNKS, SEQUENCE = 10, 20, 40
"""Where the fields of the word begin."""

FIELD = (1 << 10) - 1
"""Mask of a field that counts chunks: those of a job are fewer."""

SPINS = 4096
"""Looks at the word between two offers to let another process run: some 100 us, longer than most jobs."""

PATIENCE = 16
"""Offers of an idle helper before it goes to sleep: about a millisecond."""

KIND, FIRST, LAST, SIZE, SUBJECT, OTHER, JOINED = 0, 1, 2, 3, 4, 5, 8
"""Places in `Team.job`: what to do, its rows, rows per chunk, what it is about; then a flag per thread."""


class Team(NamedTuple):
    """What the threads of a team share.

    Attributes
    ----------
    size : number of threads, 1 without helpers
    control : int64, the word, the number of chunks done, and whether the team is closed
    job : int64, facts of the current job
    lefts : int64, rows that each chunk of a partition sends to the left
    partials : int64 (size, n_channels, width), histograms of the helpers; the first is not used
    """

    size: int
    control: np.ndarray
    job: np.ndarray
    lefts: np.ndarray
    partials: np.ndarray


TEAM_TYPE = types.NamedTuple(
    [types.int64, types.int64[::1], types.int64[::1], types.int64[::1], types.int64[:, :, ::1]], Team
)


_intrinsic: Any = intrinsic
"""Its type hints count the typing context, which callers never pass."""


def make_team(size: int, n_chunks: int, n_channels: int, width: int) -> Team:
    """Return the shared memory of a team of `size` threads, for jobs of at most `n_chunks` chunks."""
    partials = np.empty((size if size > 1 else 0, n_channels, width), dtype=np.int64)
    job = np.zeros(JOINED + size, dtype=np.int64)
    return Team(size, np.zeros(48, dtype=np.int64), job, np.zeros(n_chunks, dtype=np.int64), partials)


def _pointer(context, builder, signature, arguments):
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    return builder.gep(data, [arguments[1]])


@_intrinsic
def atomic_load(typing_context, array, place):
    """Return `array[place]`, and see all that was written before it was stored."""

    def generate(context, builder, signature, arguments):
        return builder.load_atomic(_pointer(context, builder, signature, arguments), "acquire", 8)

    return types.int64(array, types.intp), generate


@_intrinsic
def atomic_store(typing_context, array, place, value):
    """Set `array[place]` after all that was written before."""

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature, arguments)
        builder.store_atomic(arguments[2], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), generate


@_intrinsic
def atomic_add(typing_context, array, place, value):
    """Add to `array[place]` in one step; return what was there before."""

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature, arguments)
        return builder.atomic_rmw("add", pointer, arguments[2], "acq_rel")

    return types.int64(array, types.intp, types.int64), generate


@_intrinsic
def _yield_processor(typing_context):
    """Offer the processor to another process."""

    def generate(context, builder, signature, arguments):
        if hasattr(os, "sched_yield"):
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(ir.IntType(32), []), "sched_yield"
            )
            builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), generate


@_intrinsic
def _pause(typing_context):
    """Leave the core to its other hardware thread for a moment, which spinning at full speed slows."""

    def generate(context, builder, signature, arguments):
        if platform.machine().lower() in ("x86_64", "amd64"):
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), generate


@helper
def publish(team, n_chunks):
    """Let helpers take chunks of the job described in `team.job`."""
    atomic_store(team.control, DONE, 0)
    sequence = (atomic_load(team.control, WORD) >> SEQUENCE) + 1
    atomic_store(team.control, WORD, ((sequence & 0x7FFFFF) << SEQUENCE) | (n_chunks << CHUNKS))


@helper
def n_left(word):
    """Number of chunks that nobody has taken."""
    return ((word >> CHUNKS) & FIELD) - (word & FIELD) - ((word >> BACK) & FIELD)


@helper
def take(team, thread):
    """Take a chunk of the published job; -1 where none is left."""
    word = atomic_load(team.control, WORD)
    if n_left(word) <= 0:
        return -1
    is_odd = thread & 1
    word = atomic_add(team.control, WORD, is_odd << BACK | (1 - is_odd))
    if n_left(word) <= 0:
        return -1
    if is_odd:
        return ((word >> CHUNKS) & FIELD) - 1 - ((word >> BACK) & FIELD)
    return word & FIELD


@helper
def finish(team):
    """Report a chunk as done."""
    atomic_add(team.control, DONE, 1)


@helper
def wait_for(team, n_chunks):
    """Wait until all chunks of the published job are done."""
    looks = 0
    while atomic_load(team.control, DONE) < n_chunks:
        _pause()
        looks += 1
        if looks % SPINS == 0:
            _yield_processor()


@helper
def next_chunk(team, thread):
    """Wait for a chunk; -1 when none came for about a millisecond, or the team is closed."""
    for _ in range(PATIENCE):
        for _ in range(SPINS):
            chunk = take(team, thread)
            if chunk >= 0:
                return chunk
            _pause()
        if atomic_load(team.control, CLOSED) != 0:
            return -1
        _yield_processor()
    return -1
