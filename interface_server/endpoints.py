"""Places where a server listens: host and port, Unix socket, file descriptor, or a Twisted endpoint string."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import ssl
import stat
from dataclasses import dataclass

BACKLOG = 2_048
UNIX_MODE = 0o660
"""Owner and group may connect to a Unix socket; the web server in front is in the group."""


class EndpointError(Exception):
    """A place where the server cannot listen; the text is one sentence."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One place to listen.

    Attributes:
        host: address or name; empty for all addresses.
        port: TCP port; 0 takes a free one.
        path: of a Unix socket, instead of host and port.
        mode: who may connect to that: file permissions.
        fd: of a socket that is open already, instead of the others.
        reuse_port: share host and port with other processes that ask for the same (SO_REUSEPORT).
        key_file: private key for TLS.
        cert_file: certificate for TLS.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    path: str | None = None
    mode: int = UNIX_MODE
    fd: int | None = None
    reuse_port: bool = False
    key_file: str | None = None
    cert_file: str | None = None

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read ``tcp:``, ``unix:``, ``ssl:`` and ``fd:`` strings as Twisted writes them.

        >>> Endpoint.parse("tcp:port=8080:interface=0.0.0.0").port
        8080

        Raises:
            EndpointError: the string is none of these.
        """
        kind, *rest = [part.replace("\\\\", "\\").replace("\\:", ":") for part in re.split(r"(?<!\\):", text)]
        plain = [part for part in rest if "=" not in part]
        named = dict(part.split("=", 1) for part in rest if "=" in part)
        first = plain[0] if plain else None
        if kind == "unix":
            path = named.get("address", first)
            if not path:
                raise EndpointError(f"endpoint {text!r} names no path; write unix:/path/to/socket")
            return cls(path=path, mode=parse_mode(named["mode"]) if "mode" in named else UNIX_MODE)
        if kind == "fd":
            return cls(fd=_number(text, "fileno", named.get("fileno", first)))
        if kind not in ("tcp", "ssl"):
            raise EndpointError(f"endpoint {text!r} is of no known kind; tcp:, ssl:, unix: and fd: are")
        port = _number(text, "port", named.get("port", first))
        host = named.get("interface", "")
        if kind == "tcp":
            return cls(host=host, port=port)
        key = named.get("privateKey", "server.pem")
        return cls(host=host, port=port, key_file=key, cert_file=named.get("certKey", key))

    def bind(self) -> socket.socket:
        """Open the listening socket.

        Raises:
            EndpointError: the address cannot be used.
        """
        if self.reuse_port and (self.fd is not None or self.path is not None):
            raise EndpointError(f"--reuse-port is for a host and a port, not for {self._where}; leave it away")
        try:
            if self.fd is not None:
                return socket.socket(fileno=self.fd)
            if self.path is not None:
                return _bind_path(self.path, self.mode)
            return _bind_address(self.host, self.port, self.reuse_port)
        except OSError as error:
            raise EndpointError(self._explain(error)) from None

    def context(self) -> ssl.SSLContext | None:
        """The TLS settings, ``None`` for plain connections.

        Raises:
            EndpointError: key or certificate cannot be loaded.
        """
        if self.cert_file is None:
            if self.key_file is not None:
                raise EndpointError(f"a private key ({self.key_file}) needs a certificate; give --ssl-certfile too")
            return None
        for path in filter(None, (self.cert_file, self.key_file)):
            if not os.path.isfile(path):
                raise EndpointError(f"cannot serve TLS: there is no file {path}")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.cert_file, self.key_file)
        except (ssl.SSLError, OSError) as error:
            raise EndpointError(f"cannot serve TLS with {self.cert_file}: {error}") from None
        return context

    @property
    def _where(self) -> str:
        return self.path or (f"file descriptor {self.fd}" if self.fd is not None else f"{self.host or '*'}:{self.port}")

    def _explain(self, error: OSError) -> str:
        where = self._where
        if error.errno == errno.EADDRINUSE:
            return f"cannot listen on {where}: it is in use already; stop the other program or choose another one"
        if error.errno == errno.EACCES:
            return f"cannot listen on {where}: permission denied (ports below 1024 belong to the system)"
        return f"cannot listen on {where}: {error.strerror or error}"


def parse_mode(text: str) -> int:
    """Read the permissions of a Unix socket, as chmod takes them: ``660``, ``0666``.

    Raises:
        EndpointError: the text is not an octal number from 0 to 777.
    """
    if not re.fullmatch("0*[0-7]{1,3}", text):
        raise EndpointError(f"{text!r} is not a mode of a socket; write its permissions in octal, for example 0660")
    return int(text, 8)


def address_of(listener: socket.socket, tls: bool) -> str:
    """The URL under which a person reaches it."""
    name = listener.getsockname()
    if isinstance(name, tuple):
        host = f"[{name[0]}]" if ":" in name[0] else name[0]
        return f"{'https' if tls else 'http'}://{host}:{name[1]}"
    return f"unix:{name.decode() if isinstance(name, bytes) else name}"


def _bind_address(host: str, port: int, reuse_port: bool) -> socket.socket:
    if not 0 <= port <= 65_535:
        raise EndpointError(f"{port} is not a port; ports go from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]  # an IPv6 address as it stands in a URL
    family, kind, number, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, number)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            _share_port(listener)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _share_port(listener: socket.socket) -> None:
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except (AttributeError, OSError):
        listener.close()
        raise EndpointError("this system does not let two processes share a port; leave --reuse-port away") from None


def _bind_path(path: str, mode: int) -> socket.socket:
    """Bind a Unix socket, over one that a server which is gone has left behind."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(path).st_mode) and not _is_served(path):
                os.unlink(path)
        listener.bind(path)
        os.chmod(path, mode)  # before anybody can connect
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == 0


def _number(text: str, name: str, value: str | None) -> int:
    if value is None or not value.isdigit():
        raise EndpointError(f"endpoint {text!r} has no {name} number; write for example tcp:8000 or fd:3")
    return int(value)
