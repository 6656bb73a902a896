"""redis-py's errors in this layer's terms."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from typing import Any, Final

import redis
from redis import exceptions

from ..exceptions import LayerUnavailable, LayerUnusable

DRIVER_ERRORS = (redis.RedisError, OSError, EOFError, UnicodeError)
"""Exceptions that talking to Redis can raise; the last comes from host names that are invalid."""

HARMLESS: Final = (b"OK", b"QUEUED")
"""Replies by which no message was stored or taken."""

_REFUSED: Final = (redis.AuthenticationError, exceptions.NoPermissionError)
_CLUSTER: Final = (
    exceptions.ClusterError,
    exceptions.ClusterCrossSlotError,
    exceptions.AskError,
    exceptions.TryAgainError,
)
_LOST_CONTACT: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
_STEPPED_DOWN: Final = (exceptions.ReadOnlyError, exceptions.MasterDownError)

IN_CLUSTER: Final = (
    "is in cluster mode, which this layer cannot use. Use channel_layer.redis.RedisClusterChannelLayer, or servers "
    "outside of a cluster."
)

_CLUSTER_NAME: Final = re.compile(r"rediss?\+cluster:")
"""Pattern of the names of nodes, where they are used as a cluster."""

_PLACE: Final = re.compile(r" script: (\w+, )?on @.*")
"""The place in a script, which Redis puts behind what went wrong there. Valkey 9 leaves out the digest."""

_CURES: Final = (
    (r"unknown (redis )?command", "does not know a command ({text}); Redis 7.0 or later is needed, or Valkey."),
    (r"cluster mode|while the cluster is down", IN_CLUSTER),
    (r"DB index", "has no such database ({text}). Give a lower number behind the last slash in 'hosts'."),
    (r"^DENIED", "refuses us: it is in protected mode. Give it a password or a 'bind' address, see its documentation."),
    (
        r"user executing the script can't|ACL failure in script",
        "refuses us: {text}. Allow its user all commands on keys that begin with the layer's 'prefix'.",
    ),
    (r"^WRONGTYPE", "has other data under a key of this layer ({text}). Give the layer a 'prefix' of its own."),
)
"""Causes by the text of the reply, for errors that redis-py has no class for."""

_REFUSALS: Final = (
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.ExecAbortError,
    redis.BusyLoadingError,
    *_REFUSED,
    *_CLUSTER,
)
_REFUSAL_CODES = ("MISCONF ", "NOREPLICAS ", "BUSY ")


_ECHO: Final = re.compile(r",? with args beginning with:.*", re.DOTALL)
"""Redis repeats the arguments of a command that it does not know, the password among those of AUTH and HELLO."""


def translate(error: BaseException, where: str, uncertain: bool = True) -> LayerUnavailable:
    """The exception to raise instead of a driver's; ``uncertain`` as in `LayerUnavailable`."""
    _forget_arguments(error)
    problem = _refusal(error, where)
    if problem is None:
        return LayerUnavailable(where, _first_line(error), uncertain)
    return LayerUnusable(where, f"Redis at {where} {problem}", uncertain)


def translate_opening(error: BaseException, where: str, handled: BaseException | None) -> LayerUnavailable:
    """The same for what opening a connection has raised, by which nothing was stored or taken.

    Args:
        handled: what the caller was handling at the time, which Python links to ``error`` as if it were its cause.
    """
    for link in _causes(error, handled):
        _forget_arguments(link)
    problems = (_refusal(link, where) or _obstacle(link, where) for link in _causes(error, handled))
    problem = next(filter(None, problems), None)
    if problem is None:
        return LayerUnavailable(where, _first_line(error), uncertain=False)
    return LayerUnusable(where, f"Redis at {where} {problem}", uncertain=False)


def is_cut_off(error: BaseException) -> bool:
    """Detect that the server ended a connection by TLS. It may have said why, and its end has overtaken that."""
    return any(
        isinstance(link, (ConnectionResetError, BrokenPipeError, *_LOST_CONTACT)) for link in _causes(error, None)
    )


def is_setup_error(error: BaseException) -> bool:
    """Detect an error that only a change of the configuration mends."""
    return isinstance(error, LayerUnusable) or _refusal(error, "") is not None


def is_refusal(error: object) -> bool:
    """Detect the answer of a server that stores nothing: no memory left, no disk, read only, not for us.

    Redis says so before the first write of a command, a script or a transaction, so nothing of it has happened.
    """
    return isinstance(error, _REFUSALS) or (
        isinstance(error, redis.ResponseError) and str(error).startswith(_REFUSAL_CODES)
    )


def raise_replies(replies: list[Any], where: str) -> None:
    """Raise the first error among the replies of a pipeline."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise translate(reply, where, uncertain=any(map(_had_effect, replies))) from reply


def is_unblocked(reply: Any) -> bool:
    """Detect the end of a blocking command by ``CLIENT UNBLOCK``."""
    return isinstance(reply, redis.ResponseError) and str(reply).startswith("UNBLOCKED")


def has_stepped_down(reply: Exception) -> bool:
    """Detect a server that is not a primary any more. Its name may lead to another one by now: connect anew."""
    return isinstance(reply, _STEPPED_DOWN)


def _had_effect(reply: Any) -> bool:
    """Tell from its reply if a command may have done something to messages; a script may fail in its middle."""
    if isinstance(reply, Exception):
        return _PLACE.search(str(reply)) is not None and not is_refusal(reply)
    return reply not in HARMLESS


def _refusal(error: BaseException, where: str) -> str | None:
    """Say what Redis refuses and what to do about it, if it is a matter of configuration."""
    text = _first_line(error)
    if isinstance(error, _REFUSED):
        what = "user and password" if isinstance(error, redis.AuthenticationError) else "the rights of the user"
        return f"refuses us: {text}. Check {what} in 'hosts'."
    if _CLUSTER_NAME.match(where) and (isinstance(error, _CLUSTER) or "while the cluster is down" in text):
        return None  # a part of the cluster is away or on its way, for now
    if isinstance(error, _CLUSTER) and not isinstance(error, exceptions.MasterDownError):
        return IN_CLUSTER
    if isinstance(error, redis.ResponseError):
        for pattern, cure in _CURES:
            if re.search(pattern, text, re.IGNORECASE):
                return cure.format(text=text)
    return None


def _obstacle(error: BaseException, where: str) -> str | None:
    """The same for what keeps a connection from being opened."""
    text = _first_line(error)
    if isinstance(error, exceptions.InvalidResponse):
        return f"does not speak Redis' protocol ({text}). Check host and port in 'hosts', and rediss:// for TLS."
    if isinstance(error, UnicodeError):
        return f"cannot be looked up ({text}). Check the host name in 'hosts'."
    if where.startswith("rediss"):
        return _tls_obstacle(error)
    if isinstance(error, PermissionError) and where.startswith("unix:"):
        return f"cannot be reached ({text}). Let the user of this process read and write the socket."
    return None


def _tls_obstacle(error: BaseException) -> str | None:
    """The same for TLS; the options are redis-py's, given beside the address or in ``connection_kwargs``."""
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError)):
        return f"cannot be reached: a file of 'ssl_ca_certs', 'ssl_certfile' or 'ssl_keyfile' is unreadable ({error})."
    if not isinstance(error, ssl.SSLError) or isinstance(error, _LOST_CONTACT):
        return None
    if isinstance(error, ssl.SSLCertVerificationError):
        said = error.verify_message
        if "mismatch" in said or "not valid for" in said:
            return f"has a certificate for another name ({said}). Use its name in 'hosts', or ssl_check_hostname=False."
        if "expired" in said or "not yet valid" in said:
            return f"has a certificate that is not valid now ({said}). Renew it, or set the clock."
        return (
            f"has a certificate that nobody we trust has signed ({said}). Set 'ssl_ca_certs' to the authority's "
            "certificate, or ssl_cert_reqs='none' to trust any, as Heroku's self-signed ones need."
        )
    reason = getattr(error, "reason", None) or str(error)
    if "ALERT" in reason and re.search("CERTIFICATE|UNKNOWN_CA|HANDSHAKE_FAILURE", reason):
        return f"refuses our certificate ({reason}). Set 'ssl_certfile' and 'ssl_keyfile' to one that it accepts."
    if reason == "WRONG_VERSION_NUMBER":
        return "does not speak TLS there. Use redis:// in 'hosts', or the port that it has for TLS."
    return f"cannot be reached by TLS ({error}). Check the options that begin with ssl_."


def _causes(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was made of: redis-py wraps what comes out of a socket."""
    link: BaseException | None = error
    while link is not None and link is not handled:
        yield link
        link = link.__cause__ or link.__context__


def _forget_arguments(error: BaseException) -> None:
    """Take what a server repeats out of an error, since tracebacks show it as the cause of ours."""
    error.args = tuple(_ECHO.sub("", value) if isinstance(value, str) else value for value in error.args)


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return _PLACE.sub("", lines[0]).rstrip(".")
