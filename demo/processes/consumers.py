"""The socket of the start page, which asks each second who is there.

The page sends ``{"question": n}`` and is sent ``{"answer": n, "worker": process id}``, as soon as there is a worker.
"""

from __future__ import annotations

import json
import os
from typing import Any

from channels.security.websockets import allowed_hosts_only
from demo import frames


@allowed_hosts_only
def connect(message: Any) -> None:
    """Let the start page in."""
    message.reply_channel.send({"accept": True})


def receive(message: Any) -> None:
    """Answer with the number of the question, and which process this is."""
    try:
        number = int(frames.read(message.get("text"))["question"])
    except (ValueError, TypeError, KeyError, OverflowError):
        message.reply_channel.send({"text": json.dumps({"refused": 'Send {"question": 1}.'})})
        return
    message.reply_channel.send({"text": json.dumps({"answer": number, "worker": os.getpid()})})
