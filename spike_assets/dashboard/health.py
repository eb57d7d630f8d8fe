"""Whether the dashboard runs (`/healthz`), and whether what it shows is fresh (`/readyz`)."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from spike_assets.dashboard.reader import Reader
from spike_assets.dashboard.security import is_stranger
from spike_assets.dashboard.site import Site
from spike_assets.dashboard.standing import statuses
from spike_assets.errors import SpikeError


class Health:
    """The two health checks. Whoever has no token is told yes or no, and no reason.

    Attributes
    ----------
    fault
        Why nothing is noticed any more; None while the watcher is at work.
    """

    def __init__(self, site: Site, reader: Reader) -> None:
        self._site = site
        self._reader = reader
        self.fault: str | None = None

    async def alive(self, request: Request) -> Response:
        """Say whether this process does its work."""
        return _answer(request, [] if self.fault is None else [self.fault], 500)

    async def ready(self, request: Request) -> Response:
        """Say whether the data are fresh and all is well."""
        try:
            found = await self._reader.ask("the dashboard (readyz)", statuses(self._site, self._site.now()))
            reasons = [*found.reasons, *found.catching_up]
        except SpikeError as error:
            reasons = [str(error)]
        return _answer(request, reasons, 503)


def _answer(request: Request, reasons: list[str], status: int) -> Response:
    told = {"ok": not reasons} if is_stranger(request) else {"ok": not reasons, "reasons": reasons}
    return JSONResponse(told, status if reasons else 200)
