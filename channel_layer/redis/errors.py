"""redis-py's errors in this layer's terms."""

from __future__ import annotations

import re
from typing import Any

import redis

from ..exceptions import LayerConfigurationError, LayerUnavailable

DRIVER_ERRORS = (redis.RedisError, OSError, EOFError)
"""What talking to Redis can raise."""

_SETUP_ERRORS = (redis.AuthenticationError, redis.exceptions.NoPermissionError)

_REFUSALS = (
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.MasterDownError,
    redis.exceptions.ExecAbortError,
)
_REFUSAL_CODES = ("MISCONF ", "NOREPLICAS ", "BUSY ")


def translate(error: BaseException, where: str, uncertain: bool = True) -> Exception:
    """The exception to raise instead of a driver's; ``uncertain`` as in `LayerUnavailable`."""
    text = str(error) or type(error).__name__
    if isinstance(error, _SETUP_ERRORS):
        return LayerConfigurationError(f"Redis at {where} refuses us: {text}. Check user and password in 'hosts'.")
    if isinstance(error, redis.ResponseError) and re.search(r"unknown (redis )?command", text, re.IGNORECASE):
        return LayerConfigurationError(
            f"Redis at {where} does not know a command ({text}); Redis 7.0 or later is needed, or Valkey."
        )
    return LayerUnavailable(where, text, uncertain)


def is_setup_error(error: BaseException) -> bool:
    """Whether only a change of the configuration helps."""
    return isinstance(translate(error, ""), LayerConfigurationError)


def is_refusal(error: object) -> bool:
    """Whether a server answered that it stores nothing: no memory left, no disk, read only, a replica is missing.

    Redis says so before the first write of a command, a script or a transaction, so nothing of it has happened.
    """
    return isinstance(error, _REFUSALS) or (
        isinstance(error, redis.ResponseError) and str(error).startswith(_REFUSAL_CODES)
    )


def raise_replies(replies: list[Any], where: str) -> None:
    """Raise the first error among the replies of a pipeline."""
    for reply in replies:
        if isinstance(reply, Exception):
            uncertain = len(replies) > 1 and not all(map(is_refusal, replies))
            raise translate(reply, where, uncertain) from reply


def is_unblocked(reply: Any) -> bool:
    """Whether a blocking command ended because somebody sent ``CLIENT UNBLOCK``."""
    return isinstance(reply, redis.ResponseError) and str(reply).startswith("UNBLOCKED")
