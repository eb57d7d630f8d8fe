"""A channel of our own: signed JSON to a URL, as the Standard Webhooks specification has it."""

import base64
import binascii
import hashlib
import hmac
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from urllib.parse import urlsplit

from pydantic import SecretStr

from spike_assets.alerts import render
from spike_assets.alerts.channels.base import DeliveryError, UndeliverableError
from spike_assets.alerts.channels.redact import parts_of, redacted
from spike_assets.alerts.channels.wire import Answer, ForbiddenAddressError, Wire, WireError
from spike_assets.alerts.digest import Digest
from spike_assets.alerts.wants import Wants
from spike_assets.deadline import Deadline
from spike_assets.errors import SettingsError

_PREFIX = "whsec_"
_SHORTEST_KEY, _LONGEST_KEY = 24, 64

_LONGEST_WAIT = 24 * 3600.0

_REDIRECTS = range(300, 400)
_TAKEN = range(200, 300)
_SENSELESS = frozenset({400, 413, 415, 422})
"""Statuses of receivers that will never take this very message."""

_ADVICE = {
    401: "it does not let us in; check the secret and the address",
    403: "it does not let us in; check the secret and the address",
    404: "nothing is there; check the address",
    410: "it is gone for good; check the address, or remove the channel",
}
"""Somebody has to look; an hour later it may be mended."""


@dataclass(frozen=True)
class WebhookChannel:
    """Posts `render.as_json(digest)`, signed.

    The receiver may get a digest twice, with the same `webhook-id`.

    Attributes
    ----------
    secret
        `whsec_…`, several with blanks between them while they are being changed: each signs.
    allow_private
        Whether the address may be a private one, or this machine.
    setting
        Where the URL is set, as errors call it.

    Raises
    ------
    SettingsError
        The URL or the secret cannot be used; the text shows neither.
    """

    name: str
    url: str = field(repr=False)
    secret: SecretStr
    wants: Wants
    allow_private: bool = False
    setting: str = "the channel's url"

    def __post_init__(self) -> None:
        self._signers()
        try:
            Wire(self.url, self.allow_private)
        except ValueError as error:
            raise SettingsError(f"channel {self.name}: its url cannot be used: {error}") from None

    def send(self, digest: Digest, deadline: Deadline) -> None:
        """Send a digest, once.

        Raises
        ------
        DeliveryError
            Nobody says that it arrived; `retry_after` is what the receiver asked for, in seconds.
        UndeliverableError
            The receiver can do nothing with this very message.
        """
        wire = Wire(self.url, self.allow_private)
        if deadline.remaining() <= 0:
            raise DeliveryError(f"channel {self.name}: no time was left to send; it is tried again")
        body = render.as_json(digest)
        try:
            answer = wire.post(body, self._headers(digest.digest_id, body), deadline)
        except ForbiddenAddressError as error:
            text = f"channel {self.name}: nothing was sent to {wire.where}: {error}; allow_private would allow it"
            raise DeliveryError(text) from None
        except WireError as error:
            raise DeliveryError(f"channel {self.name}: {wire.where} does not answer ({error})") from None
        self._judge(answer, wire.where)

    def _headers(self, digest_id: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(time.time()))
        signed = b".".join((digest_id.encode(), timestamp.encode(), body))
        signatures = (hmac.new(key, signed, hashlib.sha256).digest() for key in self._signers())
        return {
            "Content-Type": "application/json",
            "User-Agent": f"spike/{version('spike-assets')}",
            "webhook-id": digest_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(f"v1,{base64.b64encode(one).decode()}" for one in signatures),
        }

    def _signers(self) -> tuple[bytes, ...]:
        try:
            return keys(self.secret)
        except ValueError as error:
            raise SettingsError(f"channel {self.name}: its secret cannot be used: {error}") from None

    def _judge(self, answer: Answer, where: str) -> None:
        if answer.status in _TAKEN:
            return
        told = f"channel {self.name}: {where} answered {answer.status}"
        if answer.status in _REDIRECTS:
            there = f" to {moved}" if (moved := _host(answer.headers.get("location", ""))) else ""
            raise DeliveryError(f"{told}, it has moved{there}; set the new address in {self.setting}")
        says = self._quote(answer.body)
        told += f" ({says})" if says else ""
        if answer.status in _SENSELESS:
            raise UndeliverableError(f"{told}; it will not take this message")
        advice = _ADVICE.get(answer.status)
        told += f"; {advice} ({self.setting})" if advice else "; it is tried again"
        raise DeliveryError(told, retry_after=_retry_after(answer))

    def _quote(self, body: bytes) -> str:
        """Give the beginning of what was answered; it may repeat what it was sent."""
        words = self.secret.get_secret_value().split()
        secrets = {*words, *(word.removeprefix(_PREFIX) for word in words)}
        host = urlsplit(self.url).hostname or ""
        return redacted(body.decode("utf-8", "replace"), secrets | parts_of(self.url, host))


def keys(secret: SecretStr) -> tuple[bytes, ...]:
    """Give the keys of a secret: `whsec_` and 24 to 64 bytes in base64, or several with blanks between them.

    Raises
    ------
    ValueError
        It is none; the text does not show it.
    """
    words = secret.get_secret_value().split()
    if not words:
        raise ValueError("it is empty; `openssl rand -base64 32` makes one, put whsec_ before it")
    return tuple(_key(word) for word in words)


def _key(word: str) -> bytes:
    if not word.startswith(_PREFIX):
        raise ValueError("it has to begin with whsec_; `openssl rand -base64 32` makes what comes after it")
    text = word.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("what comes after whsec_ is no base64; copy it again") from None
    if not _SHORTEST_KEY <= len(key) <= _LONGEST_KEY:
        raise ValueError(
            f"it has to be of {_SHORTEST_KEY} to {_LONGEST_KEY} bytes, this one has {len(key)}; "
            "`openssl rand -base64 32` makes one"
        )
    return key


def _host(url: str) -> str:
    """Give scheme and host of where a redirect leads; empty where it leads nowhere else or is nonsense."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}" if parts.scheme and parts.hostname and parts.hostname.isascii() else ""


def _retry_after(answer: Answer) -> float:
    """Give how long we are asked to wait, in seconds: as many, or until a date by the receiver's own clock.

    A day at most: whoever asks for more has made a mistake.
    """
    says = answer.headers.get("retry-after", "").strip()
    if says.isascii() and says.isdigit():
        return min(float(says), _LONGEST_WAIT)
    until, now = _date(says), _date(answer.headers.get("date", "")) or datetime.now(UTC)
    return min(max(0.0, (until - now).total_seconds()), _LONGEST_WAIT) if until else 0.0


def _date(says: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(says)
    except (ValueError, TypeError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
