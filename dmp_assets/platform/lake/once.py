"""What is looked at once a run, however many of its assets ask at the same time."""

import threading
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def once_a_run(look: Callable[P, T]) -> Callable[P, T]:
    """Remember what was found for the arguments asked for last, of which the run's id is one.

    Who asks while it is looked at waits for what is found. An error is raised, and not remembered.
    """
    remembered = lru_cache(maxsize=1)(look)
    turn = threading.Lock()

    @wraps(look)
    def found(*args: P.args, **named: P.kwargs) -> T:
        with turn:
            return remembered(*args, **named)  # type: ignore[arg-type]  # all are hashable

    return found
