"""Compression of WebSocket messages (RFC 7692), in a form that another process can go on with. No I/O.

A compressor may begin anew between any two messages: what it makes then refers to nothing before, and a decompressor
that remembers more does no harm. A decompressor needs the last bytes that came out of the one before it, as many as
the client's window has, unless the client begins anew with each message.
"""

from __future__ import annotations

import zlib
from typing import Any

from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame
from websockets.typing import ExtensionName

from .websocket_frames import least_size


class RememberingDecoder:
    """A decompressor that remembers the window.

    Args:
        bits: of the client's window.
        window: the last bytes that came out of the decompressor before.
    """

    def __init__(self, bits: int, window: bytes = b"") -> None:
        self._decoder = zlib.decompressobj(wbits=-bits, zdict=window) if window else zlib.decompressobj(wbits=-bits)
        self._size = 1 << bits
        self.window = window

    @property
    def unconsumed_tail(self) -> bytes:
        """As that of `zlib.decompressobj`."""
        return self._decoder.unconsumed_tail

    def decompress(self, data: bytes, max_length: int = 0) -> bytes:
        """As that of `zlib.decompressobj`."""
        found = self._decoder.decompress(data, max_length)
        self.window = found[-self._size :] if len(found) >= self._size else (self.window + found)[-self._size :]
        return found


class Meter(Extension):
    """Counts what a parser has been given and not made a frame of. It goes behind the extensions, as one of them.

    Attributes:
        left: bytes of a frame that is not complete; 0 between two frames. After a frame with a longer head than it
            needed it is above 0 for good.
    """

    name = ExtensionName("meter")

    def __init__(self) -> None:
        self.left = 0

    def encode(self, frame: Frame) -> Frame:
        """Leave a frame to the client as it is."""
        return frame

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Count a frame, as it came."""
        self.left -= least_size(len(frame.data))
        return frame


def remember(extension: Any) -> None:
    """Have a new extension keep what `extension_state` needs."""
    if not extension.remote_no_context_takeover:
        extension.decoder = RememberingDecoder(extension.remote_max_window_bits)


def extension_state(extension: Any) -> list[Any]:
    """The negotiated parameters and the window, between two messages."""
    return [
        extension.remote_no_context_takeover,
        extension.local_no_context_takeover,
        extension.remote_max_window_bits,
        extension.local_max_window_bits,
        b"" if extension.remote_no_context_takeover else extension.decoder.window,
    ]


def extension_from(state: list[Any]) -> PerMessageDeflate:
    """The extension with that state, in another process."""
    *negotiated, window = state
    extension = PerMessageDeflate(*negotiated)
    if not extension.remote_no_context_takeover:
        extension.decoder = RememberingDecoder(extension.remote_max_window_bits, window)  # type: ignore[assignment]
    return extension
