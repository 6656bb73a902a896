"""The new server's side of a takeover: it asks the old one, and goes on with what it gets."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import time
from typing import Any, Final

from channel_layer.layer import ChannelLayer

from ..endpoints import Endpoint
from ..gateway import Gateway
from ..options import Options
from . import passage as talk
from .estate import Estate, TakeoverError, check_terms, key_of, terms
from .moving import adopt
from .relay import Relay

logger = logging.getLogger("interface_server.takeover")

END_SECONDS: Final = 5.0
"""Longest time from the end of a conversation to the end of a process that was killed."""


class Succession:
    """All that an old server hands over to this process.

    Nothing of it is touched before `confirm`. Then it belongs to this process, and until `take_up` clients only wait.

    Args:
        estate: the state.
        sockets: descriptors by inode.
        passage: to the old server; ``None`` if that has ended.
        process: descriptor of its process, if it had one.
    """

    def __init__(
        self, estate: Estate, sockets: dict[int, socket.socket], passage: socket.socket | None, process: int | None
    ) -> None:
        self.estate = estate
        self._sockets = sockets
        self._passage = passage
        self._process = process
        self._relay: Relay | None = None
        self.began = time.monotonic()

    @property
    def count(self) -> int:
        """Descriptors that are open for it."""
        return len(self._sockets)

    def listener(self, endpoint: Endpoint) -> socket.socket | None:
        """The socket that the old server listened on at this endpoint."""
        for key, inode in self.estate.listeners:
            if key == key_of(endpoint) and inode in self._sockets:
                return self._sockets.pop(inode)
        return None

    def confirm(self) -> None:
        """Say that this process is ready, and hear that all is its own.

        If the old server is gone meanwhile, it is: nobody else has these sockets.

        Raises:
            TakeoverError: the old server goes on itself.
        """
        passage = self._passage
        if passage is None:
            return
        try:
            talk.send(passage, {"ready": True})
            answer = talk.receive(passage)
        except (EOFError, OSError):
            self._expect_end()
            return
        except TakeoverError:
            self.refuse("no answer came in time")
            raise
        if not answer.get("yours"):
            self.close()
            raise TakeoverError(f"the old server goes on: {answer.get('refused')}")

    def refuse(self, why: str) -> None:
        """Leave everything to the old server."""
        if self._passage is not None:
            with contextlib.suppress(OSError):
                talk.send(self._passage, {"refused": why})
        self.close()

    def close(self) -> None:
        """Close what was received."""
        for each in (*self._sockets.values(), self._passage):
            if each is not None:
                each.close()
        self._sockets = {}
        self._passage = None

    async def take_up(self, gateway: Gateway, connections: set[Any]) -> None:
        """Go on with all connections, and then receive what has come for them meanwhile."""
        context, estate = gateway.context, self.estate
        index = getattr(context.layer, "index", None)
        if index is not None:
            for group, local, seconds in estate.memberships:
                index.join(estate.name, group, local, seconds)
        context.states.keep(estate.closed)
        if self._passage is not None:
            self._relay = Relay(gateway, self._passage)
            await self._relay.open()
        await adopt(context, connections, estate.sockets, list(self._sockets.values()))
        self._sockets = {}
        gateway.go_on()
        context.last_wills.leave_all_again()
        seconds = time.monotonic() - self.began
        logger.info("Took over %d WebSockets in %.2f s", len(estate.sockets), seconds)

    def end(self) -> None:
        """Let go of the old server."""
        if self._relay is not None:
            self._relay.close()

    def _expect_end(self) -> None:
        """The conversation has ended without a word: see to it that the process has, which else goes on itself."""
        assert self._passage is not None
        self._passage.close()
        self._passage = None
        if not _has_ended(self._process):
            self.close()
            raise TakeoverError("the old server has ended the conversation and goes on")
        logger.warning("the old server was killed while it handed over; going on with what it had handed over")


def ask(path: str, layer: ChannelLayer, options: Options) -> Succession | None:
    """Ask the server that listens on a path to hand over; ``None`` if there is none.

    Raises:
        TakeoverError: it refuses, or cannot be understood; it goes on as if nothing had happened.
    """
    began = time.monotonic()
    passage = talk.connect(path)
    if passage is None:
        return None
    process = _opened(talk.check_peer(passage))
    descriptors: list[int] = []
    own = terms(layer, options)
    ended = False
    try:
        talk.send(passage, own)
        answer = talk.receive(passage)
        if "refused" in answer:
            raise TakeoverError(str(answer["refused"]))
        talk.receive_descriptors(passage, answer["descriptors"], descriptors)
    except TakeoverError:
        _close_all(descriptors)
        passage.close()
        raise
    except (EOFError, OSError):
        ended = True
    if not descriptors:
        passage.close()
        return None
    try:
        estate = estate_from(descriptors.pop(0))
        check_terms(own, estate.terms)
    except TakeoverError as error:
        with contextlib.suppress(OSError):
            talk.send(passage, {"refused": str(error)})
        _close_all(descriptors)
        passage.close()
        raise
    succession = Succession(estate, by_inode(descriptors), passage, process)
    succession.began = began
    if ended:
        succession._expect_end()
    return succession


def estate_from(descriptor: int) -> Estate:
    """Read the estate from the file that it was left in, and close that; raises `TakeoverError`."""
    try:
        with os.fdopen(descriptor, "rb") as file:
            file.seek(0)
            return Estate.unpack(file.read())
    except OSError as error:
        raise TakeoverError(f"what the sockets were left with cannot be read: {error.strerror}") from None


def by_inode(descriptors: list[int]) -> dict[int, socket.socket]:
    """Sockets by their inode, from descriptors of sockets."""
    return {os.fstat(each).st_ino: socket.socket(fileno=each) for each in descriptors}


def _opened(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:  # it has ended
        return None


def _has_ended(process: int | None) -> bool:
    if process is None:
        return True
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(END_SECONDS * 1_000))


def _close_all(descriptors: list[int]) -> None:
    for each in descriptors:
        os.close(each)
