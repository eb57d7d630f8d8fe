"""How words become a message: as they are, or as Markdown that Slack, Discord, Telegram and mail readers all take.

The Markdown is what all of them have in common: `**bold**`, `` `code` ``, `[label](url)`, nothing at the start of a
line. No backslashes: Slack shows them. A word that could be markup is set as code instead, which is literal
everywhere; in bold, the underscore of EUR_USD may stay, because nobody takes one between two letters for emphasis
there.
"""

import re
from typing import Protocol
from urllib.parse import quote

_WORD = re.compile(r"([(\"']*)(.*?)([)\"',.;:!?]*)", re.DOTALL)
_RISKY = re.compile(r"[*_`~|<>\[\]\\#@]|&.")
_SAFE_IN_BOLD = re.compile(r"\w[\w.,:\- ]*[\w.:]", re.ASCII)
_BEYOND_BOLD = re.compile(r"_(?![A-Za-z0-9])|(?<![A-Za-z0-9])_")
_IN_URL = ":/?#[]@!$&'+,;=%~"
"""Beside letters, digits and `-._`, what may be in an address as it is: nothing that ends one."""


class Markup(Protocol):
    """How a message is marked up."""

    @property
    def break_(self) -> str:
        """What ends a line inside of a paragraph."""
        ...

    def words(self, text: str) -> str:
        """Give text as it is to be read, on one line."""
        ...

    def strong(self, text: str) -> str:
        """Give text that is to be seen first."""
        ...

    def link(self, label: str, url: str) -> str:
        """Give a link."""
        ...


class Plain:
    """No markup at all."""

    break_ = "\n"

    def words(self, text: str) -> str:
        """Give the words on one line."""
        return " ".join(text.split())

    def strong(self, text: str) -> str:
        """Give the words; plain text has nothing stronger."""
        return self.words(text)

    def link(self, label: str, url: str) -> str:
        """Give the address after its label; readers make it a link themselves."""
        return f"{label}: {quote(url, safe=_IN_URL + '()*')}"


class Markdown:
    """The Markdown that all have in common."""

    # Two blanks: without them, a mail reader joins the lines.
    break_ = "  \n"

    def words(self, text: str) -> str:
        """Give the words on one line, those that could be markup as code."""
        return " ".join(map(_word, text.split()))

    def strong(self, text: str) -> str:
        """Give the words in bold, where that is safe."""
        words = " ".join(text.split())
        safe = _SAFE_IN_BOLD.fullmatch(words) and not _BEYOND_BOLD.search(words)
        return f"**{words}**" if safe else self.words(words)

    def link(self, label: str, url: str) -> str:
        """Give a link with a label; what could end it too early is percent-encoded."""
        return f"[{label}]({quote(url, safe=_IN_URL)})"


def _word(word: str) -> str:
    if not _RISKY.search(word):
        return word
    parts = _WORD.fullmatch(word)
    before, core, after = parts.groups() if parts else ("", word, "")
    return f"{before}`{core.replace('`', chr(39))}`{after}"


def shortened(text: str, markup: Markup, room: int) -> str:
    """Give as many words of a text as there is room for, with `…` where some are left out; perhaps nothing at all."""
    whole = markup.words(text)
    if len(whole) <= room or not whole:
        return whole
    words = text.split()
    # Markup only adds, so more words than fit are never looked at.
    for n in range(min(len(words), room), 0, -1):
        some = f"{markup.words(' '.join(words[:n]))} …"
        if len(some) <= room:
            return some
    for n in range(min(len(words[0]), room), 0, -1):
        some = f"{markup.words(words[0][:n])}…"
        if len(some) <= room:
            return some
    return ""
