"""The estate that one server leaves to the next: its name, its listening sockets, its connections' states. No I/O.

Sockets travel beside the encoded estate. Each is found again by its inode, which is the same in every process that has
the socket open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]

from channel_layer.layer import ChannelLayer

from ..endpoints import Endpoint
from ..options import Options

VERSION: Final = 1
"""Of what is handed over and of the conversation about it. Raise it with any change to either."""

_MARK: Final = b"millrace takeover %d\n"


class TakeoverError(Exception):
    """A takeover that cannot be; the text is one sentence."""


@dataclass
class Estate:
    """All that goes with the sockets.

    Attributes:
        terms: see `terms`.
        name: the reply name of the process.
        listeners: for each listening socket `key_of` its endpoint, and its inode.
        sockets: states of WebSockets, see `interface_server.takeover.moving`.
        memberships: group, local part and seconds left of each.
        closed: states that consumers have left with connections that are closed, see `States.kept`.
    """

    terms: dict[str, Any]
    name: str
    listeners: list[Any] = field(default_factory=list)
    sockets: list[dict[str, Any]] = field(default_factory=list)
    memberships: list[Any] = field(default_factory=list)
    closed: list[Any] = field(default_factory=list)

    def pack(self) -> bytes:
        """Encode it."""
        content: bytes = msgpack.packb(asdict_shallow(self), use_bin_type=True, default=_plain)
        return _MARK % VERSION + content

    @classmethod
    def unpack(cls, data: bytes) -> Estate:
        """Decode what `pack` made.

        Raises:
            TakeoverError: another version made it, or it is damaged.
        """
        mark = _MARK % VERSION
        if not data.startswith(mark):
            found = data.partition(b"\n")[0][:40].decode("ascii", "replace")
            raise TakeoverError(f"the sockets were left in a form that this version cannot read ({found!r})")
        try:
            return cls(**msgpack.unpackb(data[len(mark) :], raw=False, strict_map_key=True))
        except Exception as error:  # msgpack raises half a dozen types
            raise TakeoverError(f"the state that the sockets were left with is damaged: {error!r}") from None


def asdict_shallow(estate: Estate) -> dict[str, Any]:
    """The fields of an estate, as they are."""
    return {name: getattr(estate, name) for name in estate.__dataclass_fields__}


def terms(layer: ChannelLayer, options: Options) -> dict[str, Any]:
    """The facts that both servers have to agree about."""
    kind = type(layer)
    return {
        "version": VERSION,
        "channel layer": f"{kind.__module__}.{kind.__qualname__} {layer.describe()}",
        "prefix": str(getattr(layer, "prefix", "")),
        "--unordered": options.unordered,
    }


def check_terms(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Raise `TakeoverError` if two servers do not agree about everything."""
    if ours.get("version") != theirs.get("version"):
        raise TakeoverError(
            f"the servers do not speak the same version of the takeover ({ours.get('version')} and "
            f"{theirs.get('version')}); stop the old one, which closes its sockets with 1012, and start the new one"
        )
    for name in ours:
        if ours[name] != theirs.get(name):
            raise TakeoverError(
                f"the servers differ in their {name} ({ours[name]} and {theirs.get(name)}), so the new one cannot go "
                "on with the sockets of the old one; start it with the same, or stop the old one first"
            )


def key_of(endpoint: Endpoint) -> list[Any]:
    """The place of an endpoint, as both servers write it."""
    place = asdict(endpoint)
    return [place[name] for name in ("host", "port", "path", "fd")]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be handed over")
