"""Routes that can never be taken, which nothing tells of but silence."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from django.core.checks import CheckMessage, Warning

from channel_layer.messages import SERVED
from routing import Router

_FIRST_ATOM = re.compile(r"(?:\^|\\A|\((?:\?P<\w+>|\?:)?)*(?P<atom>\[\^?\]?[^\]]*\]|\\[wdsWDS]|\\?[^\\()\[.^$*+?{])")


def silent_routes(alias: str, router: Router) -> Iterator[CheckMessage]:
    """A warning for each route to an unknown channel of the web, and each path that no path can match."""
    for channel in sorted(router.channels):
        if channel.startswith(("http.", "websocket.")) and channel not in SERVED:
            near = difflib.get_close_matches(channel, SERVED, 1)
            yield Warning(
                f"CHANNEL_LAYERS[{alias!r}]: a route listens on {channel!r}, to which no web server sends.",
                hint=f"Did you mean {near[0]!r}?" if near else f"The channels are {', '.join(SERVED)}.",
                id="channels.W003",
            )
        for patterns in router.patterns(channel, "path"):
            if channel in SERVED and patterns and _needs_no_slash(patterns[0]):
                yield Warning(
                    f"CHANNEL_LAYERS[{alias!r}]: a route of {channel!r} has path={patterns[0]!r}, which matches no "
                    "path: they begin with a slash.",
                    hint="Write the slash, as in path=r'^/chat/$'; Django's urls.py leaves it out, routes do not.",
                    id="channels.W004",
                )


def _needs_no_slash(pattern: str) -> bool:
    """Tell if a regular expression begins with something that certainly is not a slash. Doubtful ones pass."""
    found = _FIRST_ATOM.match(pattern)
    if found is None or "|" in pattern or re.search(r"\)(?:[?*]|\{0?,)", pattern):
        return False
    rest = pattern[found.end() :]
    if rest.startswith(("?", "*", "{0", "{,")):
        return False
    return re.fullmatch(found["atom"], "/") is None
