"""A channel by an Apprise URL: Slack, Telegram, e-mail, ntfy and some 170 more."""

import logging
import math
import re
import threading
import time
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import SecretStr

from spike_assets.alerts import render
from spike_assets.alerts.channels.base import DeliveryError
from spike_assets.alerts.channels.limited import within
from spike_assets.alerts.channels.redact import parts_of, redacted
from spike_assets.alerts.digest import Digest
from spike_assets.alerts.wants import Wants
from spike_assets.deadline import Deadline
from spike_assets.errors import SettingsError

# The library itself is imported in functions: it takes a tenth of a second, and most commands send nothing.

_CONNECTIONS = logging.getLogger("urllib3.connectionpool")

_TYPES = {"operational": "warning", "recovery": "success"}
"""What the services that have colours are told; `info` for all else."""

_SHORTEST_BODY = 160
"""The renderer needs so many characters."""

_TITLE_MARKUP = 24
"""At most what is put around a title where it becomes the body's first line."""


class AppriseChannel:
    """One Apprise URL. It may name several recipients; then a message that failed for one is sent to all again.

    Raises
    ------
    SettingsError
        Apprise cannot make anything of the URL; the text does not show it.
    """

    def __init__(self, name: str, url: SecretStr, wants: Wants) -> None:
        self.name = name
        self.wants = wants
        self._url = url
        self._plugin = self._opened()
        self._host = urlsplit(self._plugin.url(privacy=True)).hostname or ""
        self._timeouts = (self._plugin.socket_connect_timeout, self._plugin.socket_read_timeout)
        self._busy = threading.Lock()
        self._last = -math.inf

    def _opened(self) -> Any:
        url = self._url.get_secret_value()
        with _Said() as said:
            plugin = _plugin(url)
        if plugin is None:
            why = redacted(said.text(), parts_of(url))
            raise SettingsError(
                f"channel {self.name}: Apprise cannot use this {schema(url)}:// URL{why and f' ({why})'}; "
                "appriseit.com/services says how it is written"
            )
        return plugin

    def send(self, digest: Digest, deadline: Deadline) -> None:
        """Send a digest, in one message of at most the length that the service takes.

        Raises
        ------
        DeliveryError
            The service did not take it, or not in time; or it asks for a pause that is longer than the time left.
        """
        if deadline.remaining() <= 0:
            raise DeliveryError(f"channel {self.name}: no time was left to send; it is tried again")
        try:
            # Sockets that fall silent end it earlier. An answer that drips in, nothing else would end.
            within(deadline, lambda: self._send(digest, deadline))
        except TimeoutError:
            raise DeliveryError(
                f"channel {self.name}: {self._plugin.service_name} did not answer in time; it is tried again"
            ) from None

    def _send(self, digest: Digest, deadline: Deadline) -> None:
        from apprise.exception import AppriseException  # noqa: PLC0415

        if not self._busy.acquire(blocking=False):
            raise DeliveryError(f"channel {self.name}: an earlier message is still under way; it is tried again")
        try:
            left = max(deadline.remaining(), 0.001)
            connect, read = (min(left, seconds) for seconds in self._timeouts)
            self._plugin.socket_connect_timeout, self._plugin.socket_read_timeout = connect, read
            # Theirs sleeps as long as it likes, by a clock that jumps an hour when summer time ends.
            self._plugin.throttle = _Throttle(self, deadline)
            title, body, given = _fitted(self._plugin, digest)
            with _Said() as said:
                try:
                    taken = self._plugin.notify(
                        body=body, title=title, notify_type=_TYPES.get(digest.kind, "info"), body_format=given
                    )
                except (AppriseException, OSError, ValueError) as error:
                    raise self._refused(str(error)) from None  # its text may have the URL in it
            if not taken:
                raise self._refused(said.text())
        finally:
            self._busy.release()

    def _refused(self, says: str) -> DeliveryError:
        why = redacted(says, parts_of(self._url.get_secret_value(), self._host)) or "it does not say why"
        return DeliveryError(f"channel {self.name}: {self._plugin.service_name} did not take the message: {why}")

    def pause(self) -> float:
        """Give how long the service wants to be left alone from now on, in seconds."""
        return max(0.0, self._last + float(self._plugin.request_rate_per_sec) - time.monotonic())

    def mark(self) -> None:
        """Note that a request is sent now."""
        self._last = time.monotonic()


@dataclass
class _Throttle:
    """Keeps a message's requests apart, and never sleeps beyond the deadline. Called by the plugin before each."""

    channel: AppriseChannel
    deadline: Deadline
    begun: bool = False

    def __call__(self, last_io: object = None, wait: float | None = None) -> None:  # noqa: ARG002 - theirs has it
        asked = self.channel.pause() if wait is None else wait
        left = self.deadline.remaining()
        if asked >= left and not (self.begun and wait is None and left > 0):
            raise DeliveryError(
                f"channel {self.channel.name}: it takes its next message in {asked:.1f} s only; it is tried again then",
                retry_after=asked,
            )
        # To the second recipient of a message that the first one has, sending too early is better than not at all.
        if 0 < asked < left:
            time.sleep(asked)
        self.begun = True
        self.channel.mark()


class _Said(logging.Handler):
    """What Apprise logs in this thread inside the block. It returns False on a failure, and only its log says why."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line. Called by the logger."""
        if record.thread == self._thread:
            self._lines.append(record.getMessage())

    def text(self) -> str:
        """Give all of it."""
        return " ".join(self._lines)

    def __enter__(self) -> Self:
        logger = logging.getLogger("apprise")
        # Nowhere else: at level DEBUG it writes the URLs with their tokens.
        logger.propagate = False
        logger.setLevel(logging.WARNING)
        logger.addHandler(self)
        _CONNECTIONS.addFilter(self._of_others)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("apprise").removeHandler(self)
        _CONNECTIONS.removeFilter(self._of_others)

    def _of_others(self, record: logging.LogRecord) -> bool:
        """Whether that is not of this thread: paths, too, have tokens in them."""
        return record.thread != self._thread


def urls(text: str) -> tuple[str, ...]:
    """Give the URLs of a list, split at commas, semicolons and blanks as Apprise itself does.

    Raises
    ------
    ValueError
        There is something before the first URL, or no URL at all.
    """
    from apprise.utils.parse import parse_urls  # noqa: PLC0415

    if not re.match(r"\s*[A-Za-z0-9]+://", text):
        raise ValueError("write Apprise URLs, like ntfy://my-topic, with blanks or commas between them")
    split: Any = parse_urls
    return tuple(split(text.strip()))


def schema(url: str) -> str:
    """Give what comes before `://`, in lower-case letters; `unknown` where nothing does."""
    found = re.match(r"([A-Za-z0-9]{1,32})://", url)
    return found[1].lower() if found else "unknown"


def _plugin(url: str) -> Any:
    from apprise import Apprise, AppriseAsset  # noqa: PLC0415

    asset = AppriseAsset(app_id="spike", app_desc="spike alerts", secure_logging=True)
    return Apprise.instantiate(url, asset=asset)


def _fitted(plugin: Any, digest: Digest) -> tuple[str, str, Any]:
    """Give title, body and the body's format, so short that nothing is split or cut off on the way."""
    from apprise import NotifyFormat  # noqa: PLC0415

    markdown = plugin.resolve_format() == NotifyFormat.MARKDOWN
    given = NotifyFormat.MARKDOWN if markdown else NotifyFormat.TEXT
    write = render.markdown if markdown else render.text
    title = render.title(digest)
    if 0 < plugin.title_maxlen < len(title):
        title = title[: plugin.title_maxlen - 1] + "…"
    limit = max(int(plugin.body_maxlen), _SHORTEST_BODY)
    # Markup that is added on the way makes it longer; how much, only the message itself tells.
    while (excess := _excess(plugin, title, body := write(digest, limit), given)) > 1 and limit > _SHORTEST_BODY:
        limit = max(min(int(limit / excess), limit - 1), _SHORTEST_BODY)
    if excess <= 1:
        return title, body, given
    # An SMS, say. The beginning is better than nothing.
    room = plugin.body_maxlen - _TITLE_MARKUP
    return title[: room // 2], body[: room - min(len(title), room // 2)], given


def _excess(plugin: Any, title: str, body: str, given: Any) -> float:
    """Give how many times as long as the service takes a message is; up to 1 it fits."""
    from apprise.conversion import convert_between  # noqa: PLC0415

    converted: Any = convert_between
    shown = plugin.resolve_format(given)
    text = converted(given, shown, body)
    length = max(len(text), len(plugin.dialect_convert(text, shown)))
    if plugin.title_maxlen <= 0:
        length += len(converted(given, shown, title)) + _TITLE_MARKUP
    elif plugin.overflow_amalgamate_title:
        length += len(title) + _TITLE_MARKUP
    lines = (text.count("\n") + 2) / plugin.body_max_line_count if plugin.body_max_line_count > 0 else 0.0
    return float(max(length / plugin.body_maxlen, lines))
