"""Offline: while a network is built for a run, no connection is made, whatever a library or its code asks for."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any
from unittest import mock

from bench.base.errors import BadInput
from bench.networks.libraries.request import Request

_VARIABLES = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


@contextlib.contextmanager
def no_network(request: Request) -> Iterator[None]:
    """Refuse connections to other machines. Raises BadInput, with the command that may fetch, where one is tried."""
    connect = socket.socket.connect

    def refuse(*given: Any, **named: Any) -> Any:
        raise BadInput(
            f"{request.text} asks the network for something that is not on this machine; a run never uses the network",
            f"`bench download {request.word}` fetches it"
            + (" (with --trust-code, since its own code asks)." if request.source == "hub" else "."),
        )

    def connect_here(one: socket.socket, address: Any) -> Any:
        return refuse() if one.family in (socket.AF_INET, socket.AF_INET6) else connect(one, address)

    with (
        mock.patch.dict(os.environ, _VARIABLES),
        mock.patch.object(socket.socket, "connect", connect_here),
        mock.patch.object(socket.socket, "connect_ex", refuse),
        mock.patch.object(socket, "getaddrinfo", refuse),
    ):
        yield
