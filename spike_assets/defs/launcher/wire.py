"""What the launcher, the warm server and a run's process say to one another, over socket pairs that nobody else has.

Each message is one packet of JSON. An end that is closed says that the other one has gone.
"""

import errno
import json
import socket
from typing import Any

Message = dict[str, Any]

GO: Message = {"go": True}
"""The launcher to a run's process, once it is written down who that is."""
BEGUN: Message = {"begun": True}
"""Its answer: from here on the run is the process's business."""

_CLOSED = (errno.EPIPE, errno.ECONNRESET, errno.EBADF)
"""How sending fails when the other end is closed, or this one is, by another thread."""
_LONGEST = 1 << 20


class GoneError(Exception):
    """The other end is closed: its process has ended."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Give two ends, between which packets stay whole."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(end: socket.socket, message: Message, carried: socket.socket | None = None) -> None:
    """Send a message, and an open socket with it where one is carried.

    Raises
    ------
    GoneError
        The other end is closed.
    """
    try:
        socket.send_fds(end, [json.dumps(message).encode()], [carried.fileno()] if carried else [])
    except OSError as error:
        if error.errno not in _CLOSED:
            raise
        raise GoneError from error


def receive(end: socket.socket) -> Message:
    """Wait for a message.

    Raises
    ------
    GoneError
        The other end is closed.
    TimeoutError
        Nothing came within the socket's timeout.
    """
    return receive_carried(end)[0]


def receive_carried(end: socket.socket) -> tuple[Message, socket.socket | None]:
    """Wait for a message, and give the socket that it carries; raises as `receive` does."""
    try:
        data, descriptors, _, _ = socket.recv_fds(end, _LONGEST, 1)
    except ConnectionResetError as error:
        raise GoneError from error
    if not data:
        raise GoneError
    message: Message = json.loads(data)
    return message, socket.socket(fileno=descriptors[0]) if descriptors else None
