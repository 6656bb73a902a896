"""Encodings of channels_redis, for code that imports or extends them. The layers of this project use their own."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import msgpack  # type: ignore[import-untyped]

try:
    from cryptography.fernet import Fernet, MultiFernet
except ImportError:  # pragma: no cover - the extra "crypto" brings it
    Fernet = MultiFernet = None  # type: ignore[assignment,misc]

__all__ = [
    "BaseMessageSerializer",
    "JSONSerializer",
    "MsgPackSerializer",
    "SerializerDoesNotExist",
    "SerializersRegistry",
    "registry",
]

GRACE_SECONDS = 10
"""How much older than ``expiry`` an encrypted message may be."""


class SerializerDoesNotExist(KeyError):
    """No serializer has this name."""


class BaseMessageSerializer(ABC):
    """A message to bytes and back.

    Args:
        symmetric_encryption_keys: secrets; the first encrypts, all decrypt.
        random_prefix_length: random bytes to put in front.
        expiry: seconds after which an encrypted message is refused.

    Raises:
        ValueError: the keys are no list, or ``cryptography`` is not installed.
    """

    def __init__(
        self,
        symmetric_encryption_keys: Sequence[str | bytes] | None = None,
        random_prefix_length: int = 0,
        expiry: float | None = None,
    ) -> None:
        self.random_prefix_length = max(0, random_prefix_length)
        self.expiry = expiry
        self.crypter = None
        if symmetric_encryption_keys:
            if isinstance(symmetric_encryption_keys, (str, bytes)):
                raise ValueError("symmetric_encryption_keys must be a list of possible keys")
            self.crypter = MultiFernet([self.make_fernet(key) for key in symmetric_encryption_keys])

    def make_fernet(self, key: str | bytes) -> Fernet:
        """The cipher of one secret."""
        if Fernet is None:
            raise ValueError("Cannot run with encryption without 'cryptography' installed.")
        secret = key.encode() if isinstance(key, str) else key
        return Fernet(base64.urlsafe_b64encode(hashlib.sha256(secret).digest()))

    @abstractmethod
    def as_bytes(self, message: Any) -> bytes:
        """Encode."""

    @abstractmethod
    def from_bytes(self, message: bytes) -> Any:
        """Decode."""

    def serialize(self, message: Any) -> bytes:
        """Encode, encrypt if there are keys, and put the random bytes in front."""
        data = self.as_bytes(message)
        if self.crypter is not None:
            data = self.crypter.encrypt(data)
        return secrets.token_bytes(self.random_prefix_length) + data

    def deserialize(self, message: bytes) -> Any:
        """Undo `serialize`."""
        data = message[self.random_prefix_length :]
        if self.crypter is not None:
            data = self.crypter.decrypt(data, None if self.expiry is None else int(self.expiry + GRACE_SECONDS))
        return self.from_bytes(data)


class JSONSerializer(BaseMessageSerializer):
    """JSON in UTF-8."""

    def as_bytes(self, message: Any) -> bytes:
        """Encode."""
        return json.dumps(message).encode()

    def from_bytes(self, message: bytes) -> Any:
        """Decode."""
        return json.loads(message)


class MsgPackSerializer(BaseMessageSerializer):
    """msgpack."""

    def as_bytes(self, message: Any) -> bytes:
        """Encode."""
        return bytes(msgpack.packb(message))

    def from_bytes(self, message: bytes) -> Any:
        """Decode."""
        return msgpack.unpackb(message)


class SerializersRegistry:
    """Name → class of a serializer."""

    def __init__(self) -> None:
        self._classes: dict[str, Any] = {}

    def register_serializer(self, format: str, serializer_class: Any) -> None:
        """Give a class with ``serialize`` and ``deserialize`` a name."""
        if not (isinstance(serializer_class, type) and all(
            hasattr(serializer_class, name) for name in ("serialize", "deserialize")
        )):  # fmt: skip
            raise AssertionError(f"{serializer_class!r} is no class with serialize() and deserialize()")
        self._classes[format] = serializer_class

    def get_serializer(self, format: str, *args: Any, **kwargs: Any) -> Any:
        """Make a serializer; raises `SerializerDoesNotExist`."""
        try:
            serializer_class = self._classes[format]
        except KeyError:
            raise SerializerDoesNotExist(format) from None
        return serializer_class(*args, **kwargs)


registry = SerializersRegistry()
"""The process's registry."""

registry.register_serializer("json", JSONSerializer)
registry.register_serializer("msgpack", MsgPackSerializer)
