"""Which addresses a webhook may be sent to: public ones, unless the operator says otherwise."""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_NAT64 = IPv6Network("64:ff9b::/96")
"""An IPv4 address behind a gateway: the last four bytes."""


_DOCUMENTATION = IPv6Network("3fff::/20")
_OLD_RELAYS = IPv4Network("192.88.99.0/24")


def resolved(host: str, port: int) -> tuple[str, ...]:
    """Give the addresses of a host, as the system knows them; `OSError` when it knows none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet, through whatever it may be wrapped in."""
    return all(_is_public(one) for one in _unwrapped(address))


def is_loopback(address: str) -> bool:
    """Whether an address is this very machine."""
    return all(one.is_loopback for one in _unwrapped(address)[-1:])


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    # `is_global` alone lets multicast pass, and what has been given up or set aside since.
    if isinstance(address, IPv6Address) and (address.is_site_local or address in _DOCUMENTATION or _is_isatap(address)):
        return False
    return (
        address.is_global
        and address not in _OLD_RELAYS
        and not (address.is_multicast or address.is_reserved or address.is_unspecified or address.is_link_local)
    )


def _is_isatap(address: IPv6Address) -> bool:
    """Whether the last half stands for an IPv4 address of the network that the host is in (RFC 5214)."""
    return (int(address) >> 32) & 0xFDFF_FFFF == 0x5EFE


def _unwrapped(address: str) -> list[IPv4Address | IPv6Address]:
    """Give what has to be looked at: the address, or the IPv4 address that it stands for, with a tunnel its ends."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv4Address):
        return [found]
    if found.ipv4_mapped:
        return [found.ipv4_mapped]
    if found.sixtofour:  # what Python's list says of the tunnel itself differs between its patch releases
        return [found.sixtofour]
    if found in _NAT64:
        return [IPv4Address(int(found) & 0xFFFFFFFF)]
    return [found, *(found.teredo or ())]
