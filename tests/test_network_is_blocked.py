"""A test that reaches for the network must fail, not slow down or flicker."""

from __future__ import annotations

import socket

import pytest
from pytest_socket import SocketConnectBlockedError

ANOTHER_MACHINE = ("192.0.2.1", 9)  # TEST-NET-1 (RFC 5737): no such host anywhere


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_only_loopback_is_reachable() -> None:
    with pytest.raises(SocketConnectBlockedError):
        socket.create_connection(ANOTHER_MACHINE, timeout=1)
