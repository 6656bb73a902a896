"""The ASGI scope of a WSGI request, from which messages are made (PEP 3333)."""

from __future__ import annotations

from typing import Any

from ..bridge.messages import Scope, clean_headers

Environ = dict[str, Any]

_UNPREFIXED = {"CONTENT_TYPE": b"content-type", "CONTENT_LENGTH": b"content-length"}


class BadEnviron(ValueError):
    """A request whose description cannot be used; the text says why."""


def scope_of(environ: Environ) -> Scope:
    """An ASGI ``http`` scope for a WSGI environment.

    Header fields come in the order of the environment; a WSGI server joins repeated ones with commas.
    ``X_Real_Ip`` and ``X-Real-Ip`` look alike in an environment, so it is for the WSGI server to drop
    names with underscores, as gunicorn and waitress do.
    """
    root = environ.get("SCRIPT_NAME", "")
    return {
        "type": "http",
        "http_version": _version(environ.get("SERVER_PROTOCOL", "")),
        "method": environ["REQUEST_METHOD"],
        "scheme": environ.get("wsgi.url_scheme", "http"),
        "path": _decoded(root + environ.get("PATH_INFO", "")) or "/",
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "root_path": _decoded(root),
        "headers": clean_headers(_fields(environ)),
        "client": _address(environ.get("REMOTE_ADDR"), environ.get("REMOTE_PORT")),
        "server": _address(environ.get("SERVER_NAME"), environ.get("SERVER_PORT")),
    }


def body_length(environ: Environ) -> int | None:
    """Length of the body, 0 if there is none, ``None`` if it ends where the input does.

    Raises:
        BadEnviron: the content length is not a number.
    """
    text = environ.get("CONTENT_LENGTH") or ""
    if text:
        if not (text.isascii() and text.isdigit()):
            raise BadEnviron(f"content length {text!r} is not a number")
        return int(text)
    return None if environ.get("wsgi.input_terminated") else 0


def _fields(environ: Environ) -> list[tuple[bytes, bytes]]:
    found = []
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            name = key[5:].replace("_", "-").lower().encode("latin-1")
        elif key in _UNPREFIXED and value:
            name = _UNPREFIXED[key]
        else:
            continue
        found.append((name, value.encode("latin-1")))
    return found


def _decoded(text: str) -> str:
    """Text that PEP 3333 makes of bytes, read as the UTF-8 it most often is."""
    return text.encode("latin-1").decode("utf-8", "replace")


def _version(protocol: str) -> str:
    name, _, version = protocol.partition("/")
    return version if name == "HTTP" and version else "1.0"


def _address(host: str | None, port: Any) -> tuple[str, int] | None:
    if not host:
        return None
    text = str(port or "")
    return host, int(text) if text.isascii() and text.isdigit() else 0
