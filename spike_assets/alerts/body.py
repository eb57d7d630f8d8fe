"""What a message's body is made of, and what is left out of it where a service takes so many characters only.

Paragraphs: what it is about, the group, the entries, what was left out, and the reference. How numbers are put into
words is the business of `phrases`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from spike_assets.alerts import phrases
from spike_assets.alerts.digest import Digest, Entry, Group, Notice
from spike_assets.alerts.markup import Markup, shortened

LEAST_LIMIT = 160
"""Below so many characters a body says nothing: what an SMS holds."""

REFERENCE = 8
"""So many characters of a digest's id tell it from its neighbours."""

_FEW_WORDS = 40
"""A notice has at least so many characters, however little room there is."""

Paragraph = list[str]


class Amount(IntEnum):
    """How much of an entry is said: its name and level; the reasons too; everything."""

    BARE = 0
    BRIEF = 1
    FULL = 2


@dataclass(frozen=True)
class _Plan:
    """What goes in: how much of the group and of entries, how many entries, and whether the link of the message."""

    group: Amount
    entry: Amount
    entries: int
    link: bool


def body(digest: Digest, markup: Markup, limit: int | None) -> str:
    """Give the body in at most `limit` characters, None for as many as it takes.

    Raises
    ------
    ValueError
        The limit is below 160.
    """
    if limit is not None and limit < LEAST_LIMIT:
        raise ValueError(f"a message needs {LEAST_LIMIT} characters, {limit} are too few")
    for plan in _plans(digest):
        whole = _joined(_paragraphs(digest, plan, markup), markup)
        if limit is None or len(whole) <= limit:
            return whole
    return _cut(digest, markup, LEAST_LIMIT if limit is None else limit)


def _plans(digest: Digest) -> Iterator[_Plan]:
    """Give what could go in, the best first: entries go from the end, then details of all, then the link."""
    everything = len(digest.entries)
    for link in (True, False):
        for group, entry in (
            (Amount.FULL, Amount.FULL),
            (Amount.BRIEF, Amount.FULL),
            (Amount.BRIEF, Amount.BRIEF),
            (Amount.BARE, Amount.BARE),
        ):
            for entries in range(everything, 0, -1) if everything else (0,):
                yield _Plan(group, entry, entries, link)


def _joined(paragraphs: list[Paragraph], markup: Markup) -> str:
    return "\n\n".join(markup.break_.join(lines) for lines in paragraphs if lines)


def _paragraphs(digest: Digest, plan: _Plan, markup: Markup) -> list[Paragraph]:
    return [
        [*_head(digest, plan.entry, markup), *_notice(digest, markup)],
        _missed(digest, plan.entry, markup),
        _group(digest.group, plan.group, markup) if digest.group else [],
        *(_entry(entry, digest, plan.entry, markup) for entry in digest.entries[: plan.entries]),
        [*_omitted(digest, plan), _reference(digest, plan.link, markup)],
    ]


def _head(digest: Digest, amount: Amount, markup: Markup) -> Paragraph:
    marks = [("Test", "this channel works, nothing below is news.")] if digest.kind == "test" else []
    marks += [("Simulated market", "these are no real prices.")] if digest.simulated else []
    answers = _answers(digest, markup)
    candle = phrases.candle(digest)
    if amount is Amount.BARE:
        lines = [" · ".join([*(mark for mark, _ in marks), *answers]), candle]
    else:
        lines = [*(f"{markup.strong(f'{mark}:')} {meaning}" for mark, meaning in marks), candle, *answers]
    return [line for line in lines if line]


def _answers(digest: Digest, markup: Markup) -> Paragraph:
    verb = {"supplement": "Adds to", "correction": "Corrects"}.get(digest.kind)
    before = f"message {markup.words(digest.follows[:REFERENCE])}" if digest.follows else "an earlier message"
    return [f"{verb} {before}"] if verb else []


def _notice(digest: Digest, markup: Markup) -> Paragraph:
    if digest.notice is None:
        return []
    return [f"{markup.strong(_notice_starts(digest, digest.notice))} {markup.words(digest.notice.text)}"]


def _notice_starts(digest: Digest, notice: Notice) -> str:
    if digest.kind == "recovery":
        return f"Cleared after {phrases.lasted(digest.created_at - notice.since)}:"
    return f"Since {phrases.moment(notice.since)}:"


def _missed(digest: Digest, amount: Amount, markup: Markup) -> Paragraph:
    if digest.missed is None:
        return []
    lines = [f"{phrases.missed(digest.missed, digest.granularity)}."]
    if amount >= Amount.BRIEF and (rules := phrases.by_rule(digest.missed)):
        lines.append(f"By rule: {markup.words(rules)}")
    if amount >= Amount.FULL and (busiest := phrases.busiest(digest.missed)):
        lines.append(f"Busiest: {markup.words(busiest)}")
    return lines


_STANDS = {"new": "", "updated": " (updated)", "withdrawn": " (taken back)"}


def _group(group: Group, amount: Amount, markup: Markup) -> Paragraph:
    stands = _STANDS[group.status]
    if amount is Amount.BARE:
        return [f"{markup.strong(phrases.at_once(group))}{stands}"]
    lines = [f"{markup.strong(f'{len(group.members)} of {group.of} instruments met resistance at once')}{stands}"]
    if group.currency:
        lines.append(markup.words(f"{group.sharing} of them with {group.currency}"))
    if amount is Amount.FULL:
        lines.append(markup.words(", ".join(group.members)))
    return lines


def _entry(entry: Entry, digest: Digest, amount: Amount, markup: Markup) -> Paragraph:
    lines = [f"{markup.strong(f'{entry.instrument} {entry.level}')}{_STANDS[entry.status]}"]
    why = phrases.reasons(entry, digest.granularity)
    if entry.status == "withdrawn":
        # What it was is enough; the event itself may be gone.
        return [*lines, markup.words(f"it said: {'; '.join(why)}")] if why and amount >= Amount.BRIEF else lines
    if amount >= Amount.BRIEF:
        lines += map(markup.words, why)
    if amount >= Amount.FULL:
        lines.append(markup.words(phrases.details(entry)))
        if entry.group and not _said(entry, digest.group):
            lines.append(markup.words(f"together with {', '.join(entry.group)}"))
        if entry.link:
            lines.append(markup.link("chart", entry.link))
    return lines


def _said(entry: Entry, group: Group | None) -> bool:
    """Tell whether the group that an entry is of has been named in full already."""
    return group is not None and {entry.instrument, *entry.group} == set(group.members)


def _omitted(digest: Digest, plan: _Plan) -> Paragraph:
    """Say what a plan leaves out: nothing, entries, or details."""
    if left := len(digest.entries) - plan.entries:
        return [_left_out(left)]
    said = ([plan.entry] if digest.entries or digest.missed else []) + ([plan.group] if digest.group else [])
    return [_left_out(0)] if said and min(said) < Amount.FULL else []


def _left_out(entries: int) -> str:
    return f"… and {entries} more" if entries else "… shortened"


def _reference(digest: Digest, link: bool, markup: Markup) -> str:
    reference = f"ref {markup.words(digest.digest_id[:REFERENCE])}"
    return f"{reference} · {markup.link('dashboard', digest.link)}" if link and digest.link else reference


def _cut(digest: Digest, markup: Markup, limit: int) -> str:
    """Give what fits of the least that could be said: of lines the first, of a notice as many words as fit."""
    head = _head(digest, Amount.BARE, markup)
    if digest.notice is not None:
        return _cut_notice(digest, digest.notice, head, markup, limit)
    group = _group(digest.group, Amount.BARE, markup) if digest.group else []
    first = [line for entry in digest.entries[:1] for line in _entry(entry, digest, Amount.BARE, markup)]
    lines = [*head, *_missed(digest, Amount.BARE, markup), *group, *first]
    for n in range(len(lines), 0, -1):
        left = len(digest.entries) - (n == len(lines) and bool(first))
        whole = _joined([lines[:n], [_left_out(left), _reference(digest, False, markup)]], markup)
        if len(whole) <= limit:
            return whole
    return _reference(digest, False, markup)


def _cut_notice(digest: Digest, notice: Notice, head: Paragraph, markup: Markup, limit: int) -> str:
    start = f"{markup.strong(_notice_starts(digest, notice))} "
    # The text is what matters: without room for a few words of it, the link goes, and then the head.
    for link, lines in ((True, head), (False, head), (False, [])):
        end = [_left_out(len(digest.entries)), _reference(digest, link, markup)]
        room = limit - len(_joined([[*lines, start], end], markup))
        if room >= _FEW_WORDS:
            break
    return _joined([[*lines, f"{start}{shortened(notice.text, markup, room)}"], end], markup)
