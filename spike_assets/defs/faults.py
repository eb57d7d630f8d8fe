"""How a fault reaches Dagster: another attempt where that may help, one line where it does not; and back again."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import dagster as dg

from spike_assets.errors import SpikeError, TransientError
from spike_assets.granularity import Granularity

RETRY_SECONDS = 1.0


@contextmanager
def told_to_dagster(
    context: dg.OpExecutionContext | dg.AssetExecutionContext,
    granularity: Granularity,
    seconds_left: Callable[[], float],
    failed: Callable[[BaseException], None] = lambda _: None,
) -> Iterator[None]:
    """Ask for another attempt after a transient fault while there is time; fail in one line after any other.

    Parameters
    ----------
    seconds_left
        Gives what is left of the run's time.
    failed
        Called with the fault that there is no other attempt for.
    """
    try:
        yield
    except TransientError as error:
        wait = max(RETRY_SECONDS, error.retry_after)
        if context.retry_number < granularity.retries and seconds_left() > wait:
            context.log.warning(str(error))
            raise dg.RetryRequested(granularity.retries, wait) from error
        failed(error)
        raise dg.Failure(str(error), allow_retries=False) from error
    except SpikeError as error:
        failed(error)
        raise dg.Failure(str(error), allow_retries=False) from error
    except BaseException as error:  # a run that is cancelled, or out of time, too
        failed(error)
        raise


def own_words(step_failures: Iterable[dg.DagsterEvent]) -> str | None:
    """Give what the first step that failed says of it, in one line; None when none says anything."""
    for event in step_failures:
        failure = event.step_failure_data
        if failure.user_failure_data and failure.user_failure_data.description:
            return failure.user_failure_data.description
        if failure.error:
            wrapped = failure.error.cls_name == "DagsterExecutionStepExecutionError"
            error = failure.error.cause if wrapped and failure.error.cause else failure.error
            return error.message.strip().splitlines()[0]
    return None
