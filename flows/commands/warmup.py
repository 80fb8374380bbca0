"""`warmup`: pay for compilation now instead of in the first night."""

from __future__ import annotations

from flows.commands.session import DEFAULT_OUTPUT, Answer, Output, opened


def warmup(*, output: Output = DEFAULT_OUTPUT) -> Answer:
    """Compile the booster's kernels into the cache under the home.

    Example: leadscore warmup
    """
    from pkboost_core import warm_up

    with opened(output) as (_, progress):
        with progress.stage("compile"):
            warm_up()
        seconds = progress.seconds["compile"]
    return Answer({"status": "warm", "seconds": seconds}, lambda: f"kernels compiled in {seconds:.1f} s")
