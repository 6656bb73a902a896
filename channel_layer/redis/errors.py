"""redis-py's errors in this layer's terms."""

from __future__ import annotations

import re
from typing import Any

import redis

from ..exceptions import LayerConfigurationError, LayerUnavailable

DRIVER_ERRORS = (redis.RedisError, OSError, EOFError)
"""What talking to Redis can raise."""

_SETUP_ERRORS = (redis.AuthenticationError, redis.exceptions.NoPermissionError)


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


def raise_replies(replies: list[Any], where: str) -> None:
    """Raise the first error among the replies of a pipeline, or at the end of one of its transactions."""
    for reply in replies:
        if type(reply) is list and reply:
            reply = reply[-1]
        if isinstance(reply, Exception):
            raise translate(reply, where, uncertain=len(replies) > 1) from reply


def is_unblocked(reply: Any) -> bool:
    """Whether a blocking command ended because somebody sent ``CLIENT UNBLOCK``."""
    return isinstance(reply, redis.ResponseError) and str(reply).startswith("UNBLOCKED")
