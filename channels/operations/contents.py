"""Messages that wait on a channel, in words and for machines. What they say is shown only if that was asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from channel_layer.inspection import Waiting

from .tables import plural, printable


def in_words(waiting: Waiting, content: bool) -> str:
    """A message in a line: for whom, how large, its headers, and the kinds of what it says, or all that it says."""
    parts = [f"to group {waiting.group} of {waiting.channel}" if waiting.group else waiting.channel]
    parts.append(plural(waiting.size, "byte"))
    if waiting.message is None:
        return ", ".join([*parts, f"cannot be read: {waiting.reason}"])
    if content:
        said = json.dumps(waiting.message, default=_text, ensure_ascii=False)
        headers = json.dumps(waiting.headers, default=_text, ensure_ascii=False) if waiting.headers else ""
    else:
        said = "{" + ", ".join(f"{printable(key)}: {kind(value)}" for key, value in waiting.message.items()) + "}"
        headers = ", ".join(f"{printable(name)}={value}" for name, value in _headers(waiting.headers).items())
    return printable(", ".join([*parts, *([f"headers {headers}"] if headers else []), said]))


def for_machines(waiting: Waiting, content: bool) -> dict[str, Any]:
    """The same as an object; bytes in a content are ``{"bytes": hexadecimal digits}``."""
    found: dict[str, Any] = {"channel": waiting.channel, "size": waiting.size, "age": round(waiting.age, 3)}
    if waiting.group:
        found["group"] = waiting.group
    if waiting.message is None:
        return {**found, "unreadable": waiting.reason}
    if content:
        return {**found, "headers": _plain(waiting.headers or {}), "content": _plain(waiting.message)}
    kinds = {key: kind(value) for key, value in waiting.message.items()}
    return {**found, "headers": _headers(waiting.headers), "kinds": kinds}


def kind(value: object) -> str:
    """The kind and size of a value.

    >>> kind("hello"), kind(b""), kind([1]), kind(2.5), kind(None)
    ('text of 5', 'bytes of 0', 'list of 1', 'float', 'nothing')
    """
    if isinstance(value, (str, bytes, list, dict)):
        return f"{'text' if isinstance(value, str) else type(value).__name__} of {len(value)}"
    return "nothing" if value is None else type(value).__name__


def _headers(headers: Mapping[str, Any] | None) -> dict[str, Any]:
    """Headers, those that carry what an application keeps by their kind: sessions and checkpoints are among them."""
    return {
        name: kind(value) if isinstance(value, (bytes, dict, list)) else value
        for name, value in (headers or {}).items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _text(value: object) -> str:
    return repr(value)
