"""Where candles come from. `base` says what a source is; each other module is one source."""

from spike_assets.settings import Settings
from spike_assets.sources.base import CandleSource


def open_source(settings: Settings) -> CandleSource:
    """Give the source that the settings ask for. Only its module is imported."""
    if settings.source == "files":
        from spike_assets.sources.files import FilesSource  # noqa: PLC0415

        assert settings.files_dir is not None, "settings require it"  # noqa: S101
        return FilesSource(settings.files_dir)
    if settings.source == "oanda":
        from spike_assets.sources.oanda import open_oanda  # noqa: PLC0415

        return open_oanda(settings)
    from spike_assets.sources.simulated import SimulatedSource  # noqa: PLC0415

    return SimulatedSource()
