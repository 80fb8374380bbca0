"""`python -m flows.adapters.child MODULE ARG...`: run a module in a process that ends when its parent does.

The parent holds the other end of standard input. When the parent ends, however it ends, the pipe closes and
this process ends itself. That works on every system, unlike a parent-death signal.
"""

import gc
import os
import runpy
import signal
import sys
import threading

_GRACE_SECONDS = 10.0
_GC_THRESHOLD = 50_000  # a server's imports leave nothing to collect: 5-10 % of its start


def _end_with_parent() -> None:
    os.read(0, 1)  # nothing is ever written: this returns when the pipe closes
    forced = threading.Timer(_GRACE_SECONDS, os._exit, (1,))
    forced.daemon = True
    forced.start()
    signal.raise_signal(signal.SIGTERM)


def main() -> None:
    """Tie this process to its parent, then become the module named in the arguments."""
    # A shell that starts jobs in the background ignores SIGINT for them, and a server would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    gc.set_threshold(_GC_THRESHOLD)
    module, *sys.argv[1:] = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
