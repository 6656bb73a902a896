"""Many client WebSockets in one process: opened in batches, watched with one epoll object.

Whatever a server sends is compared with the bytes that must come, so the client needs no reader of frames.
"""

from __future__ import annotations

import os
import resource
import select
import socket
from collections.abc import Iterable

from websockets.frames import Frame, Opcode
from websockets.utils import accept_key

STALL = 15.0
"""Seconds without any progress after which a load has failed."""

PER_SOURCE = 4_000
"""Sockets from one loopback address: a pair of addresses has 28,000 ports, and a closed one is busy for a minute."""

READ = 65_536

_BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36",
    "Pragma: no-cache",
    "Cache-Control: no-cache",
    "Origin: https://www.example.com",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9",
)
_BATCH = 50
_IP_BIND_ADDRESS_NO_PORT = 24  # ip(7); Python 3.11 has no name for it
_KEY = "bWlsbHJhY2UtbWVhc3VyZQ=="
_ACCEPT = accept_key(_KEY).encode()


class LoadError(Exception):
    """The load could not be carried through: an answer was wrong, or did not come."""


def client_frame(opcode: Opcode, payload: bytes) -> bytes:
    """A whole frame as a client must send it, masked."""
    return Frame(opcode, payload).serialize(mask=True)


def server_frame(opcode: Opcode, payload: bytes) -> bytes:
    """A whole frame as a server must send it: unmasked, in the shortest form of its length."""
    return Frame(opcode, payload).serialize(mask=False)


class Connection:
    """One open socket, what must come on it, and what its load remembers about it.

    Attributes:
        expected: whole frames; nothing but them and pings may come.
        frame: size of each of them.
        got: how many of these bytes have come.
        unsent: the rest of a message of which the socket has not taken all.
        turn: which of its messages is on its way.
        sent: when that was sent, by `time.perf_counter`.
    """

    __slots__ = ("expected", "fd", "frame", "got", "number", "sent", "sock", "turn", "unsent")

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.number = number
        self.unsent = memoryview(b"")
        self.turn = 0
        self.sent = 0.0
        self.expect(b"")

    def expect(self, frames: bytes, count: int = 1) -> None:
        """Set what must come next: so many frames."""
        self.expected, self.got, self.frame = frames, 0, max(1, len(frames) // count)

    def take(self, data: bytes) -> bool:
        """Compare what was read with what must come, however it is cut, and answer pings; tell if it made that whole.

        Raises:
            LoadError: something else came, or the server closed the connection.
        """
        if not data:
            raise LoadError(f"the server closed connection {self.number}")
        before = self.got
        while data and not self.expected.startswith(data, self.got):
            inside = self.got % self.frame
            if not inside and data[0] == 0x80 | Opcode.PING:
                size = 2 + data[1]
                os.write(self.fd, client_frame(Opcode.PONG, data[2:size]))
            elif not inside and data[0] == 0x80 | Opcode.CLOSE:
                raise LoadError(f"the server closed connection {self.number} with {int.from_bytes(data[2:4], 'big')}")
            else:
                size = self.frame - inside
                piece = data[:size]
                if not self.expected.startswith(piece, self.got):
                    place = f"socket {self.number} from byte {self.got} on"
                    raise LoadError(f"something else than it should came on {place}: {piece[:60]!r}")
                self.got += len(piece)
            data = data[size:]
        self.got += len(data)
        return before < self.got == len(self.expected)


def allow_many_files() -> None:
    """Raise this process's limit of open files, which its children inherit, as far as it may go."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def source(number: int) -> str:
    """The loopback address from which this process opens its socket of this number; no other process uses it soon."""
    return f"127.{1 + os.getpid() % 250}.{os.getpid() // 250 % 250}.{1 + number // PER_SOURCE % 250}"


def connect(host: str, port: int, number: int) -> socket.socket:
    """Open a TCP connection with Nagle's algorithm off; a blocking socket that waits for `STALL` seconds at most."""
    sock = socket.socket()
    try:
        sock.settimeout(STALL)
        # The port is chosen when both addresses are known: a search among the ports of one takes milliseconds
        # as soon as thousands of them were used in the last minute.
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source(number), 0))
        sock.connect((host, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def handshake_request(host: str, port: int, path: str, browser: int | None = None) -> bytes:
    """The request that opens a WebSocket; it offers no extension.

    Args:
        browser: with it there are the headers of a browser, whose cookies this number makes its own.
    """
    more = "" if browser is None else "".join(f"{line}\r\n" for line in (*_BROWSER, f"Cookie: {_cookies(browser)}"))
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {_KEY}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    ).encode()


def _cookies(number: int) -> str:
    return f"csrftoken={number:032d}; sessionid={number:032d}"


def after_handshake(data: bytes) -> bytes | None:
    """Bytes that a server sent behind its answer to `handshake_request`; ``None`` if that is not complete.

    Raises:
        LoadError: it refused.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    if b" 101 " not in head.split(b"\r\n")[0] or _ACCEPT not in head:
        raise LoadError(f"the handshake was answered with {head[:200].decode('latin-1')!r}")
    return rest


def open_websockets(host: str, port: int, path: str, count: int, browser: bool = False) -> list[Connection]:
    """Open WebSockets, `_BATCH` handshakes at a time, with the headers of browsers if that is wanted.

    Raises:
        LoadError: a handshake was refused, or the server spoke first.
        OSError: the server cannot be reached or does not answer in `STALL` seconds.
    """
    opened: list[Connection] = []
    while len(opened) < count:
        numbers = range(len(opened), min(len(opened) + _BATCH, count))
        batch = [Connection(connect(host, port, number), number) for number in numbers]
        for connection in batch:
            number = connection.number if browser else None
            connection.sock.sendall(handshake_request(host, port, path, number))
        for connection in batch:
            data = b""
            while (rest := after_handshake(data)) is None:
                more = connection.sock.recv(READ)
                if not more:
                    raise LoadError("the server closed a connection during the handshake")
                data += more
            if rest:
                raise LoadError(f"the server spoke first on connection {connection.number}: {rest[:60]!r}")
        opened += batch
    return opened


def watch(connections: Iterable[Connection]) -> tuple[select.epoll, dict[int, Connection]]:
    """An epoll object for reading from connections, and the connections by descriptor."""
    poll = select.epoll()
    by_fd = {}
    for connection in connections:
        connection.sock.setblocking(False)
        poll.register(connection.fd, select.EPOLLIN)
        by_fd[connection.fd] = connection
    return poll, by_fd
