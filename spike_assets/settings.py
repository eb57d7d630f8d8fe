"""Settings, read once from the environment and `.env`. A bad one is refused at start, by name."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from spike_assets.errors import SettingsError
from spike_assets.granularity import EARLIEST, LATEST
from spike_assets.instruments import INSTRUMENTS, instrument


class Settings(BaseSettings):
    """What an operator may set, each as `SPIKE_…` in the environment or in `.env`."""

    model_config = SettingsConfigDict(
        env_prefix="SPIKE_",
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    source: Literal["simulated", "files"] = Field("simulated", description="where candles come from")
    files_dir: Path | None = Field(None, description="the folder of the `files` source")
    database: str | None = Field(None, description="path of the DuckDB file; data/<source>.duckdb unless set")
    instruments: Annotated[tuple[str, ...], NoDecode] = Field(INSTRUMENTS, description="comma list; the 29 unless set")
    history_start: datetime = Field(datetime(2025, 1, 1, tzinfo=UTC), description="where the partitions begin, UTC")
    atr_period: int = Field(14, ge=2, le=200, description="Wilder's period, in candles")
    warmup: int = Field(500, ge=0, le=5000, description="candles stored before an instrument's first window")

    @field_validator("instruments", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("instruments")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one instrument, like EUR_USD")
        return tuple(sorted({instrument(symbol).name for symbol in value}))

    @field_validator("history_start")
    @classmethod
    def _in_utc(cls, value: datetime) -> datetime:
        if not EARLIEST.year <= value.year <= LATEST.year:
            raise ValueError(f"give a time from {EARLIEST.year} to {LATEST.year}")
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    @model_validator(mode="after")
    def _needs_folder(self) -> "Settings":
        if self.source == "files" and self.files_dir is None:
            raise ValueError("SPIKE_FILES_DIR: set it to the folder of candle files, SPIKE_SOURCE=files needs one")
        return self

    @property
    def database_url(self) -> str:
        """Where the store is."""
        return self.database or f"data/{self.source}.duckdb"

    def in_force(self) -> dict[str, str]:
        """Give every setting by its name in the environment, as text, secrets hidden."""
        shown = {f"SPIKE_{name.upper()}": _text(getattr(self, name)) for name in type(self).model_fields}
        return shown | {"SPIKE_DATABASE": self.database_url}


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; `SettingsError` names every bad one."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError("; ".join(_complaint(dict(problem)) for problem in error.errors())) from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f".env cannot be read ({why}); repair or remove it") from error


def _complaint(problem: dict[str, Any]) -> str:
    says = str(problem["msg"]).removeprefix("Value error, ")
    if not problem["loc"]:
        return says
    given = problem["input"]
    shown = ",".join(map(str, given)) if isinstance(given, tuple) else given
    return f"SPIKE_{str(problem['loc'][0]).upper()}: {says} (it is {shown!r})"


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return "" if value is None else str(value)
