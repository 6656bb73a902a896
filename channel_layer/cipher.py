"""Frames that only holders of a secret can read and make. No I/O.

What is sealed is a frame of `channel_layer.codec` as a whole, headers and with them sessions included::

    kind 1 | key 8 | salt 16 | nonce 12 | AES-256-GCM of (good until 8, content), with its tag of 16

``key`` tells which secret sealed it. The key that encrypts is derived (HKDF-SHA256, RFC 5869) from the
secret and the random salt, which every `Sealer` chooses for itself and anew after `SEALS_PER_KEY` frames.
Random nonces of 96 bits are safe for 2**32 messages under one key (NIST SP 800-38D, 8.3); with a key for
each process and stretch of time the number of messages under one secret has no bound that matters. A
secret is changed when somebody who knew it leaves, or by the calendar, not by a count.

Authenticated along with it is where a frame may lie: the layer's prefix, and

* `CHANNEL`: the name its reader listens on;
* `GROUP`: that it is for a process with members in a group. The sender does not know which processes
  have; the group's name is in the frame, and a process without members in that group delivers nothing;
* `MEMBER`: that it is for an ordinary channel in a group, whose name is sealed with it. Its reader does
  not know its groups, so that a *ticket* comes with the frame: `TICKET`, made for this group and reader
  by who added the one to the other;
* `REPORT`: the name of the process whose report it is, which lies on no channel.

"Good until" keeps what somebody recorded from being put in again later. It is the sender's clock plus the
time the message lives, and is compared with a clock that may go differently: see `CLOCK_TOLERANCE`
and `CLOCK_JUMP`. Within that time, whoever can write to the broker can repeat, reorder and withhold.
"""

from __future__ import annotations

import itertools
import logging
import os
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgpack  # type: ignore[import-untyped]

from .codec import InvalidFrame
from .exceptions import LayerConfigurationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

logger = logging.getLogger(__name__)

CHANNEL: Final = 1
GROUP: Final = 2
MEMBER: Final = 3
TICKET: Final = 4
REPORT: Final = 5

SEALED_FOR_CHANNELS: Final = frozenset({CHANNEL, GROUP, MEMBER})
"""First bytes of what is sealed and lies on a channel. No frame that is not sealed begins so."""

SEALS_PER_KEY: Final = 2**28
"""Frames under one derived key. Processes forked from one that has sealed share its key, hence not 2**32."""

CLOCK_TOLERANCE: Final = 600.0
"""Seconds by which the clocks of sender and receiver may differ: each may be off by five minutes."""

CLOCK_JUMP: Final = 3900.0
"""Seconds by which a receiver believes that its own clock is ahead, if the broker's says so.

A receiver whose clock jumped by an hour would take everything for too old. The broker's clock cannot
be trusted without end either: who controls it could put in recordings of any age.
"""

COMPLAINT_SECONDS: Final = 60.0
"""The log names each reason for dropping messages once in this time; the counter counts all."""

_KEY_ID, _SALT, _NONCE, _TAG = 8, 16, 12, 16
_SALT_AT = 1 + _KEY_ID
_NONCE_AT = _SALT_AT + _SALT
_SEALED_AT = _NONCE_AT + _NONCE
_deadline = struct.Struct(">d")

OVERHEAD: Final = _SEALED_AT + _deadline.size + _TAG
"""Bytes by which sealing makes a content longer; the length of a ticket."""

_LONGEST = 2 * OVERHEAD + 1 + 255
"""Overhead of a frame for an ordinary channel: the group's name and the ticket."""

NOT_SEALED = "it is not encrypted for such a channel"
NO_KEYS = "it is encrypted, and the layer has no symmetric_encryption_keys here"
UNKNOWN_KEY = "it is encrypted with a key that is not among symmetric_encryption_keys"
ALTERED = "it was altered, or comes from another channel"
TOO_OLD = "its time is over; it was put in again, or the clocks of the machines differ by more than ten minutes"
TOO_LARGE = "it is larger than max_message_size allows"


class Sealer:
    """Seals and opens frames. Thread-safe; blocks for nothing.

    Args:
        secrets: ``symmetric_encryption_keys``: text or bytes of any length. The first seals, all open.
        domain: what the frames belong to (the layer's prefix); others refuse them.
        max_frame: bytes of the longest frame to open.
        clock: seconds since the epoch.

    Raises:
        LayerConfigurationError: no list of secrets, or the package ``cryptography`` is missing.
    """

    def __init__(self, secrets: Any, domain: str, max_frame: int, clock: Callable[[], float] = time.time) -> None:
        self._secrets = {_derive(secret, None, b"millrace key id", _KEY_ID): secret for secret in _checked(secrets)}
        self._first = next(iter(self._secrets))
        self._domain = domain
        self._longest = max_frame + _LONGEST
        self._clock = clock
        self._complaints: dict[str, float] = {}
        self._cipher = lru_cache(maxsize=4096)(self._derive_cipher)
        self._count = itertools.count(1)
        self._current = self._next_key()

    # -- sealing ---------------------------------------------------------------------------------

    def for_channel(self, reader: str, frame: bytes, seconds: float) -> bytes:
        """Seal what lies on ``reader``'s queue and nowhere else, good for so many seconds."""
        return self._seal(CHANNEL, (reader,), frame, seconds)

    def for_processes(self, frame: bytes, seconds: float) -> bytes:
        """Seal a message to a group for the processes that have members in it."""
        return self._seal(GROUP, (), frame, seconds)

    def for_members(self, group: str, frame: bytes, seconds: float) -> bytes:
        """Seal a message to a group for the ordinary channels in it; the reader's `ticket` goes behind it."""
        name = group.encode()
        return self._seal(MEMBER, (), b"%c%b%b" % (len(name), name, frame), seconds)

    def ticket(self, group: str, reader: str, seconds: float) -> bytes:
        """Make the proof that an ordinary channel is in a group; `OVERHEAD` bytes."""
        return self._seal(TICKET, (group, reader), b"", seconds)

    def for_report(self, name: str, report: bytes, seconds: float) -> bytes:
        """Seal the report of a process, good for so many seconds."""
        return self._seal(REPORT, (name,), report, seconds)

    def _seal(self, kind: int, place: Sequence[str], content: bytes, seconds: float) -> bytes:
        if next(self._count) % SEALS_PER_KEY == 0:
            self._current = self._next_key()
        key, cipher = self._current
        nonce = os.urandom(_NONCE)
        content = _deadline.pack(self._clock() + seconds) + content
        return b"%c%b%b%b" % (kind, key, nonce, cipher.encrypt(nonce, content, self._bind(kind, place)))

    # -- opening ---------------------------------------------------------------------------------

    def open_all(
        self, reader: str, data: Iterable[tuple[bytes | memoryview, float]], server_time: float | None
    ) -> tuple[list[tuple[bytes, float]], int]:
        """Open what was taken from ``reader``'s queue, each with a time: the frames with theirs, how many were dropped.

        Args:
            server_time: seconds by the broker's clock.
        """
        frames: list[tuple[bytes, float]] = []
        dropped = 0
        for sealed, expires in data:
            try:
                frames.append((self.open(reader, bytes(sealed), server_time), expires))
            except InvalidFrame as error:
                dropped += 1
                self._complain(reader, str(error))
        return frames, dropped

    def open(self, reader: str, data: bytes, server_time: float | None = None) -> bytes:
        """Open one; raises `InvalidFrame` unless it was sealed with one of the secrets, for here, and not long ago."""
        if len(data) > self._longest:
            raise InvalidFrame(TOO_LARGE)
        now = self._now(server_time)
        kind = data[0] if data else None
        if kind == CHANNEL:
            return self._open(CHANNEL, (reader,), data, now)
        if kind == GROUP and reader.endswith("!"):
            return self._open(GROUP, (), data, now)
        if kind == MEMBER and not reader.endswith("!"):
            content = self._open(MEMBER, (), data[:-OVERHEAD], now)
            end = 1 + content[0]
            self._open(TICKET, (content[1:end].decode(), reader), data[-OVERHEAD:], now)
            return content[end:]
        raise InvalidFrame(NOT_SEALED)

    def open_report(self, name: str, data: bytes, server_time: float | None = None) -> bytes:
        """Open the report of a process; raises `InvalidFrame` as `open` does."""
        if len(data) > self._longest:
            raise InvalidFrame(TOO_LARGE)
        return self._open(REPORT, (name,), data, self._now(server_time))

    def _open(self, kind: int, place: Sequence[str], data: bytes, now: float) -> bytes:
        from cryptography.exceptions import InvalidTag

        key_id = data[1:_SALT_AT]
        if len(data) < OVERHEAD or data[0] != kind:
            raise InvalidFrame(NOT_SEALED)
        if key_id not in self._secrets:
            raise InvalidFrame(UNKNOWN_KEY)
        cipher = self._cipher(key_id, data[_SALT_AT:_NONCE_AT])
        try:
            content = cipher.decrypt(data[_NONCE_AT:_SEALED_AT], data[_SEALED_AT:], self._bind(kind, place))
        except InvalidTag:
            raise InvalidFrame(ALTERED) from None
        if now > _deadline.unpack_from(content)[0] + CLOCK_TOLERANCE:
            raise InvalidFrame(TOO_OLD)
        return content[_deadline.size :]

    def _now(self, server_time: float | None) -> float:
        """The earlier of our time and the broker's, as far as that is to be believed."""
        local = self._clock()
        return local if server_time is None else min(local, max(server_time, local - CLOCK_JUMP))

    def _complain(self, reader: str, reason: str) -> None:
        now = time.monotonic()
        if now >= self._complaints.get(reason, 0):
            self._complaints[reason] = now + COMPLAINT_SECONDS
            logger.warning("dropped a message on %s: %s", reader, reason)

    # -- keys ------------------------------------------------------------------------------------

    def _bind(self, kind: int, place: Sequence[str]) -> bytes:
        """Encode the data that is authenticated beside the content; msgpack, because it cannot be read in two ways."""
        return msgpack.packb((self._domain, kind, *place))  # type: ignore[no-any-return]

    def _next_key(self) -> tuple[bytes, AESGCM]:
        salt = os.urandom(_SALT)
        return self._first + salt, self._cipher(self._first, salt)

    def _derive_cipher(self, key_id: bytes, salt: bytes) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(_derive(self._secrets[key_id], salt, b"millrace frames", 32))


def _derive(secret: bytes, salt: bytes | None, purpose: bytes, length: int) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), length, salt, purpose).derive(secret)


def _checked(secrets: Any) -> list[bytes]:
    """The secrets as bytes. Complaints name no secret: they end in logs."""
    if isinstance(secrets, (str, bytes)) or not isinstance(secrets, Sequence) or not secrets:
        raise LayerConfigurationError(
            f'symmetric_encryption_keys must be a list of secrets, ["..."], not {type(secrets).__name__}'
        )
    for position, secret in enumerate(secrets):
        if not isinstance(secret, (str, bytes)) or not secret:
            found = "empty" if isinstance(secret, (str, bytes)) else type(secret).__name__
            raise LayerConfigurationError(f"symmetric_encryption_keys[{position}] must be text or bytes; it is {found}")
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise LayerConfigurationError(
            "symmetric_encryption_keys needs the package 'cryptography'; install it: "
            "pip install 'django-millrace[crypto]'"
        ) from error
    return [secret.encode() if isinstance(secret, str) else secret for secret in secrets]
