"""Work in a process of its own, which whoever asked for it ends with a Ctrl-C, and nobody else."""

import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def done_aside(work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What `work` returns, or raises, in another process: its memory is given back at its end.

    A terminal's Ctrl-C goes to every process; the other one does not hear it, in whatever it is,
    its start included, and is ended when this one leaves. Work, arguments and result are pickled.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited
            try:
                asked = pool.submit(work, *arguments, **named)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)  # one that came is heard here
            return asked.result()
        except KeyboardInterrupt:
            for child in multiprocessing.active_children():
                child.terminate()
            raise
