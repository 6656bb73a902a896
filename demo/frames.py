"""What a page has sent on its WebSocket."""

from __future__ import annotations

import json
from typing import Any


def read(text: str | None) -> Any:
    """The value that a frame holds as JSON.

    Raises:
        ValueError: it holds none, one that is nested too deeply, or a text that is none in UTF-8: JSON can write half a
            surrogate pair.
    """
    try:
        value = json.loads(text or "")
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value
