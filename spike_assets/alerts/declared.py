"""What `alerts.yaml` may say of channels, checked: each complaint names its place in the file."""

import difflib
import re
import zoneinfo
from collections.abc import Sequence
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic import model_validator as after_all

from spike_assets.alerts.wants import RULES, QuietHours, Wants
from spike_assets.core.significance import TIERS
from spike_assets.errors import SettingsError
from spike_assets.granularity import GRANULARITIES
from spike_assets.instruments import instrument

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST_NAME = 64
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def _one_of(known: Sequence[str]) -> BeforeValidator:
    """Check for one of these words."""

    def check(value: Any) -> Any:
        if value not in known:
            raise ValueError(f"{value!r} is not one of {', '.join(known)}{_meant(str(value), known)}")
        return value

    return BeforeValidator(check)


def _some(value: frozenset[str] | None) -> frozenset[str] | None:
    if value is not None and not value:
        raise ValueError("name at least one, or leave it out for all")
    return value


def _clock(value: Any) -> time:
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError(f'{value!r} is no time of day; write it like "22:00"')
    return time(int(found[1]), int(found[2]))


def _zone(value: Any) -> zoneinfo.ZoneInfo:
    known = zoneinfo.available_timezones()
    if value not in known:
        raise ValueError(f"{value!r} is no IANA timezone{_meant(str(value), sorted(known))}")
    return zoneinfo.ZoneInfo(value)


def _symbol(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not an instrument; write it like EUR_USD")  # noqa: TRY004 - pydantic's own
    return instrument(value).name


Clock = Annotated[time, BeforeValidator(_clock)]
Zone = Annotated[zoneinfo.ZoneInfo, BeforeValidator(_zone)]
Rule = Annotated[str, _one_of(RULES)]
Tier = Annotated[str, _one_of(TIERS)]
Symbol = Annotated[str, BeforeValidator(_symbol)]
Length = Annotated[str, _one_of(tuple(GRANULARITIES))]
Some = AfterValidator(_some)


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True)


class DeclaredQuietHours(_Declared):
    """`{from: "22:00", to: "07:00", timezone: Europe/Berlin}`."""

    start: Clock = Field(alias="from")
    end: Clock = Field(alias="to")
    timezone: Zone

    @after_all(mode="after")
    def _apart(self) -> "DeclaredQuietHours":
        if self.start == self.end:
            raise ValueError("from and to are the same; a channel that is never to be heard is left out of the file")
        return self


class DeclaredChannel(_Declared):
    """A channel as it is written, `${NAME}` not yet replaced."""

    kind: Literal["log", "apprise", "webhook"]
    url: SecretStr | None = None
    secret: SecretStr | None = None
    allow_private: bool | None = None
    rules: Annotated[frozenset[Rule] | None, Some] = None
    minimum_tier: Tier = TIERS[0]
    instruments: Annotated[frozenset[Symbol] | None, Some] = None
    granularities: Annotated[frozenset[Length] | None, Some] = None
    quiet_hours: DeclaredQuietHours | None = None

    @after_all(mode="after")
    def _of_its_kind(self) -> "DeclaredChannel":
        needed = {"log": (), "apprise": ("url",), "webhook": ("url", "secret")}[self.kind]
        allowed = {*needed, *(("allow_private",) if self.kind == "webhook" else ())}
        for name in ("url", "secret", "allow_private"):
            given = getattr(self, name) is not None
            if given and name not in allowed:
                raise ValueError(f"kind {self.kind} has no {name}; remove it")
            if not given and name in needed:
                raise ValueError(f"kind {self.kind} needs {name}")
        return self

    @property
    def wants(self) -> Wants:
        """What it wants."""
        quiet = self.quiet_hours
        return Wants(
            rules=frozenset(RULES) if self.rules is None else self.rules,
            minimum_tier=self.minimum_tier,
            instruments=self.instruments,
            granularities=self.granularities,
            quiet=None if quiet is None else QuietHours(quiet.start, quiet.end, quiet.timezone),
        )


def read(path: Path) -> dict[str, DeclaredChannel]:
    """Read the channels of a file, by name, in its order.

    Raises
    ------
    SettingsError
        The file cannot be read or used; the text names every place in it where something is wrong, in one line.
    """
    content = _content(path)
    if not isinstance(content, dict) or not isinstance(content.get("channels"), dict):
        raise SettingsError(f"{path}: it has to say `channels:`, and below it what each is, by name")
    unknown = [str(key) for key in content if key != "channels"]
    complaints = [f"{key}: the file says `channels:` and nothing else{_meant(key, ['channels'])}" for key in unknown]
    found: dict[str, DeclaredChannel] = {}
    for name, said in content["channels"].items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
            complaints.append(
                f"channels.{name}: name it with lower-case letters, digits and hyphens"
                + ("" if isinstance(name, str) else ", in quotation marks: YAML takes this for something else")
            )
            continue
        if not isinstance(said, dict):
            complaints.append(f"channels.{name}: say at least its `kind:` below it: log, apprise or webhook")
            continue
        try:
            found[name] = DeclaredChannel.model_validate(said)
        except ValidationError as error:
            problems = (_complaint(dict(problem)) for problem in error.errors(include_input=False, include_url=False))
            complaints += (f"channels.{name}{problem}" for problem in problems)
    if complaints:
        raise SettingsError("; ".join(f"{path}: {complaint}" for complaint in complaints))
    return found


def _complaint(problem: dict[str, Any]) -> str:
    """Give place and complaint. What was given is shown by our own checks only: it may be a secret."""
    place = "".join(f".{part}" if isinstance(part, str) else f"[{part}]" for part in problem["loc"])
    says = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        within = DeclaredQuietHours if len(problem["loc"]) > 1 else DeclaredChannel
        names = [field.alias or name for name, field in within.model_fields.items()]
        says = f"there is no such setting{_meant(str(problem['loc'][-1]), names)}; there are {', '.join(names)}"
    elif problem["type"] == "missing":
        says = "it is missing"
    elif problem["type"] == "literal_error":
        says = f"write one of {', '.join(get_args(DeclaredChannel.model_fields['kind'].annotation))}"
    elif problem["type"] == "frozen_set_type":
        says = "write a list, like [a, b]"
    return f"{place}: {says}"


def _meant(given: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(given, known, 1, 0.7)
    return f" (did you mean {close[0]}?)" if close else ""


class _Loader(yaml.SafeLoader):
    """YAML in which a key is there once, and 22:00 is no number."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Refuse a key that is there twice: of two, the first would be silently ignored. Called by the parser."""
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.composer.ComposerError(None, None, f"{key.value} is there twice", key.start_mark)
                seen.add(key.value)
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:int"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
"""No setting is a number, and to YAML 1.1 22:00 is one: 1320."""


def _content(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}); repair it, or SPIKE_ALERTS_FILE") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} cannot be read (it is not UTF-8 text); save it as such") from error
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - ours is a safe one
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{path}{line}: it is no YAML ({error.problem or error.context})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Its text shows what it stumbled on, which may be a secret.
        raise SettingsError(f"{path}: it is no YAML ({type(error).__name__}); check it with an editor") from None
