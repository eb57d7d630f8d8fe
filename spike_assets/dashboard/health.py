"""Whether the dashboard runs (`/healthz`), and whether what it shows is fresh (`/readyz`).

Anybody may ask, as often as he likes: both answer from what the watcher saw last, and read nothing.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from spike_assets.dashboard.security import is_stranger
from spike_assets.dashboard.watcher import Watcher


class Health:
    """The two health checks. Whoever has no token is told yes or no, and no reason.

    Attributes
    ----------
    fault
        Why nothing is noticed any more; None while the watcher is at work.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self.fault: str | None = None

    async def alive(self, request: Request) -> Response:
        """Say whether this process does its work."""
        return _answer(request, [] if self.fault is None else [self.fault], 500)

    async def ready(self, request: Request) -> Response:
        """Say whether the data are fresh and all is well."""
        if self.fault is None:
            await self._watcher.ready()
        return _answer(request, self._reasons(), 503)

    def _reasons(self) -> list[str]:
        trouble, board = self.fault or self._watcher.trouble, self._watcher.board
        if trouble is not None or board is None:
            return [trouble or "the store has not been looked into yet"]
        return [*board.reasons, *board.catching_up]


def _answer(request: Request, reasons: list[str], status: int) -> Response:
    told = {"ok": not reasons} if is_stranger(request) else {"ok": not reasons, "reasons": reasons}
    return JSONResponse(told, status if reasons else 200)
