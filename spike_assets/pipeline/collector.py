"""Python's cyclic garbage collector: it rests while somebody waits for a pass, or for a stage of one in Dagster.

Walking every object that pandas and DuckDB have made takes 20 to 60 ms, and came upon three passes of fifty (counted
with `gc.callbacks`). What a pass leaves is freed by counting references; what of it is in cycles, it finds later.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_rest() -> Iterator[None]:
    """Have the collector rest during the block; one that somebody else has turned off stays off.

    Of passes in several threads the first one to begin ends the rest of all: the others are slower, and no less right.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
