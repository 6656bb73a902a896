"""Check that our user on a server may run the commands of the layer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ..exceptions import LayerUnavailable, LayerUnusable
from . import scripts
from .scripts import Call, Reply, Script, plain

_SCRIPT = Script("permissions", prelude=False)  # which asks for the time, and that may be denied as well

IN_SCRIPTS = sorted(
    {name.decode() for script in scripts.ALL for name in re.findall(rb"redis\.call\('(\w+)'", script.text)}
)
"""The commands that the Lua scripts run; all but the time of day have a key first."""

ON_THEIR_OWN = (
    "MULTI", "EXEC", "EVAL x 0", "EVALSHA x 0", "SCRIPT LOAD", "LMPOP 1 KEY LEFT", "BLMPOP 0 1 KEY LEFT",
    "HMGET KEY", "SMEMBERS KEY", "HGETALL KEY",
)  # fmt: skip
"""Those that are sent as they are, besides."""


def check_all(servers: Sequence[str], prefix: str, run: Callable[[int, list[Call]], list[Reply]]) -> None:
    """Ask every server; one that is away hides nothing about the others.

    Args:
        servers: their names.
        prefix: of the layer's keys.
        run: makes calls on a server and raises the errors among the replies.

    Raises:
        LayerUnusable: a server cannot be used as configured.
        LayerUnavailable: a server is away, and nothing is wrong with the others.
    """
    commands = [name if name == "TIME" else f"{name} KEY" for name in IN_SCRIPTS]
    # The text is sent, since it is for once in a process.
    ask = plain(*Call(_SCRIPT, [], [f"{prefix}x", *commands, *ON_THEIR_OWN]).command_with_text())
    away: LayerUnavailable | None = None
    for shard, where in enumerate(servers):
        try:
            [denied] = run(shard, [ask])
        except LayerUnusable:
            raise
        except LayerUnavailable as error:
            away = error
            continue
        if denied:
            names = ", ".join(name.decode() for name in denied)
            raise LayerUnusable(
                where,
                f"Redis at {where} does not let our user run {names} on keys that begin with {prefix!r}. "
                f"Allow it, for example with ACL SETUSER and ~{prefix}* +@all, or give another user in 'hosts'.",
                uncertain=False,
            )
    if away is not None:
        raise away
