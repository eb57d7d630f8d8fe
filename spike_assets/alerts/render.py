"""How a digest looks: a title for the lock screen, a body as plain text or Markdown, and JSON.

What a body is made of is the business of `body`, how it is marked up of `markup`, the words of `phrases`.
"""

from spike_assets.alerts import phrases
from spike_assets.alerts.body import body
from spike_assets.alerts.digest import SCHEMA_VERSION, Digest
from spike_assets.alerts.markup import Markdown, Plain, shortened

_LONGEST_NOTICE = 100
"""A title holds so many characters of a notice: more is cut off by every phone."""

_PREFIXES = {"supplement": "supplement: ", "correction": "correction: ", "test": "[test] "}


def title(digest: Digest) -> str:
    """Give one line that says the most important thing first, for a phone's lock screen.

    It names the close of the candle, in UTC: `H1 closed 15:00 UTC: EUR_USD 1.16543 swept 1.1650`. It is plain text.
    """
    simulated = "[simulated] " if digest.simulated else ""
    return f"{simulated}{_PREFIXES.get(digest.kind, '')}{_news(digest)}"


def _news(digest: Digest) -> str:
    if digest.notice is not None:
        about = "cleared" if digest.kind == "recovery" else "problem"
        return f"spike {about}: {shortened(digest.notice.text, Plain(), _LONGEST_NOTICE)}"
    if digest.missed is not None:
        return phrases.away(digest.missed, digest.granularity)
    parts = []
    if digest.group is not None:
        back = " taken back" if digest.group.status == "withdrawn" else ""
        parts.append(f"{phrases.at_once(digest.group)}{back}")
        parts += [f"notably {phrases.names(digest.entries)}"] if digest.entries else []
    elif digest.entries:
        parts.append(phrases.resistances(digest.entries))
    nothing = "spike reaches this channel" if digest.kind == "test" else "no resistances"
    news = "; ".join(parts) or nothing
    closed = phrases.closed(digest)
    return f"{closed}: {news}" if closed else news


def text(digest: Digest, limit: int | None = None) -> str:
    """Give the body as plain text.

    Parameters
    ----------
    limit
        The most characters (`len` of a str); None for as many as it takes. Where it does not fit, entries are left
        out from the end (`… and 7 more`), then details, then the link of the message.

    Raises
    ------
    ValueError
        The limit is below 160.
    """
    return body(digest, Plain(), limit)


def markdown(digest: Digest, limit: int | None = None) -> str:
    """Give the body as Markdown that Slack, Discord, Telegram and mail readers take, by way of Apprise or not.

    `limit` is as in `text`; markup counts.

    Raises
    ------
    ValueError
        The limit is below 160.
    """
    return body(digest, Markdown(), limit)


def as_json(digest: Digest) -> bytes:
    """Give the digest as compact JSON, UTF-8, the same bytes for the same digest."""
    return digest.model_dump_json().encode()


def from_json(body: str | bytes) -> Digest:
    """Give the digest that `as_json` wrote.

    Raises
    ------
    ValueError
        It is not the JSON of a digest, or of a schema version that this spike does not know.
    """
    digest = Digest.model_validate_json(body)
    if digest.schema_version != SCHEMA_VERSION:
        raise ValueError(f"digest of schema version {digest.schema_version}; this spike reads {SCHEMA_VERSION}")
    return digest
