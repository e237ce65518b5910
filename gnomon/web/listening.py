"""Sockets that servers listen on."""

from __future__ import annotations

import ipaddress
import socket

from gnomon.core.errors import ConfigError


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket bound to the port, so that a taken one fails before anything is created.

    Raises:
        ConfigError: the port is taken, or the host is no address of this machine.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError, TypeError, ValueError) as error:  # the last two: invalid host names
        listener.close()
        raise ConfigError(
            f"cannot listen on {host:.80}:{port} ({error}); give another --port or --host."
        ) from None
    return listener


def address_of(host: str, listener: socket.socket) -> str:
    """Return `host:port` of a bound socket, as an address has it."""
    return f"{host if ':' not in host else f'[{host}]'}:{listener.getsockname()[1]}"


def is_loopback(host: str) -> bool:
    """Return whether only programs on this machine can reach an address to listen on."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
