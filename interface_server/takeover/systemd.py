"""Sockets that wait in systemd's file descriptor store while one server ends and the next one starts.

See sd_notify(3), ``FDSTORE=1``, and sd_listen_fds(3). The state of the connections waits there, too, in a file in
memory.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import socket
import stat
from collections.abc import Callable, Sequence
from typing import Any, Final

from channel_layer.layer import ChannelLayer

from ..bridge.connection import Kind
from ..gateway import Gateway
from ..options import Options
from .estate import TakeoverError, check_terms, terms
from .moving import CHECK_SECONDS, adopt, let_go, release, settle
from .passage import MOST_AT_ONCE
from .predecessor import BOUNDARY_SECONDS, HALT_SECONDS, Holder, estate_of, memory_file
from .successor import Succession, by_inode, estate_from

logger = logging.getLogger("interface_server.takeover")

SYSTEMD: Final = "systemd"
"""The value of ``--takeover`` that means this."""

NAME: Final = "millrace"
"""Name of the descriptors in the store."""

FIRST: Final = 3
"""The first descriptor that systemd passes."""

BARRIER_SECONDS: Final = 10.0


def is_there() -> bool:
    """True if systemd has started this process and listens to it."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def notify(*assignments: str, descriptors: Sequence[int] = ()) -> None:
    """Tell systemd something; raises `OSError`."""
    address = os.environ["NOTIFY_SOCKET"]
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
        way.connect(address)
        message = "\n".join(assignments).encode()
        if descriptors:
            socket.send_fds(way, [message], descriptors)
        else:
            way.sendall(message)


def wait_until_heard() -> None:
    """Wait until systemd has dealt with all that it was told; blocks. Raises `OSError`."""
    ours, theirs = os.pipe()
    try:
        try:
            notify("BARRIER=1", descriptors=[theirs])
        finally:
            os.close(theirs)
        poll = select.poll()
        poll.register(ours, 0)  # its end alone
        if not poll.poll(BARRIER_SECONDS * 1_000):
            raise TimeoutError("systemd does not answer")
    finally:
        os.close(ours)


def keep(descriptors: Sequence[int]) -> None:
    """Have systemd keep descriptors; blocks. Raises `OSError`."""
    for start in range(0, len(descriptors), MOST_AT_ONCE):
        notify("FDSTORE=1", f"FDNAME={NAME}", descriptors=descriptors[start : start + MOST_AT_ONCE])
    wait_until_heard()


def forget() -> None:
    """Have systemd let go of all that it keeps: a socket is closed only when nobody has it open any more."""
    try:
        notify("FDSTOREREMOVE=1", f"FDNAME={NAME}")
        wait_until_heard()
    except OSError as error:
        logger.warning("systemd keeps sockets open that are none of its business any more: %s", error)


def say_ready() -> None:
    """Tell systemd that this process serves."""
    try:
        notify("READY=1")
    except OSError as error:
        logger.warning("systemd cannot be told that this process serves: %s", error)


def kept() -> list[int]:
    """The descriptors that a server before this one had systemd keep."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    descriptors = range(FIRST, FIRST + int(os.environ.get("LISTEN_FDS", "0")))
    found = [number for number, name in zip(descriptors, names, strict=False) if name == NAME]
    for descriptor in found:
        os.set_inheritable(descriptor, False)
    return found


def inherit(layer: ChannelLayer, options: Options) -> Succession | None:
    """Take what a server before this one has left; ``None`` if it has left nothing that can be gone on with."""
    descriptors = kept()
    if not descriptors:
        return None
    files = [each for each in descriptors if stat.S_ISREG(os.fstat(each).st_mode)]
    sockets = [each for each in descriptors if stat.S_ISSOCK(os.fstat(each).st_mode)]
    try:
        if len(files) != 1:
            raise TakeoverError(f"sockets were left with {len(files)} states in place of one")
        estate = estate_from(os.dup(files[0]))
        check_terms(terms(layer, options), estate.terms)
    except TakeoverError as error:
        logger.error("closing %d sockets that wait with systemd: %s", len(sockets), error)
        for each in sockets:
            os.close(each)
        forget()
        return None
    finally:
        for each in files:
            os.close(each)
    return Succession(estate, by_inode(sockets), None, None)


async def leave(gateway: Gateway, holder: Holder, seconds: float, hurried: Callable[[], bool]) -> bool:
    """Leave all that can move with systemd, after everything else has ended; false if that cannot be.

    WebSockets work on until the requests under way are answered.
    """
    context = gateway.context
    context.stopping = True
    asked: set[Any] = set()

    def end(is_left: Callable[[Any], bool]) -> None:
        for protocol in list(holder.connections):
            if protocol not in asked and is_left(protocol):
                asked.add(protocol)
                protocol.shutdown()

    def others_have_ended() -> bool:
        end(lambda protocol: not (protocol.is_websocket and (protocol.may_move or protocol.is_handshake)))
        requests = any(connection.kind is Kind.REQUEST for connection in context.connections.values())
        return not requests and all(protocol.is_websocket for protocol in holder.connections)

    await _until(lambda: hurried() or others_have_ended(), seconds)
    await settle(holder.connections, BOUNDARY_SECONDS)
    end(lambda protocol: not protocol.is_websocket or not (protocol.may_move and protocol.hold()))
    moving = {protocol.connection for protocol in holder.connections if protocol.is_websocket and protocol.may_move}
    await _until(lambda: all(each in moving for each in context.connections.values()), HALT_SECONDS)
    try:
        if not await gateway.halt(HALT_SECONDS):
            raise TakeoverError("the channel layer does not answer in time")
        states, sockets = await release(context, holder.connections)
        listeners = [listener for _, listener in holder.listeners]
        file = memory_file(estate_of(gateway, holder, states).pack())
        try:
            descriptors = [file, *(each.fileno() for each in (*listeners, *sockets))]
            await asyncio.to_thread(keep, descriptors)
        except OSError as error:
            await asyncio.to_thread(forget)
            await adopt(context, holder.connections, states, sockets)
            raise TakeoverError(f"systemd does not take them: {error}") from None
        finally:
            os.close(file)
    except TakeoverError as error:
        logger.error("the sockets cannot wait with systemd and are closed: %s", error)
        gateway.go_on()
        let_go(holder.connections)
        return False
    for each in sockets:
        each.close()
    gateway.reporter.is_succeeded = True
    gateway.go_on(reading=False)
    let_go(holder.connections)
    logger.info("Left %d WebSockets with systemd", len(states))
    return True


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        if condition() or loop.time() >= deadline:
            return
        await asyncio.sleep(CHECK_SECONDS)
