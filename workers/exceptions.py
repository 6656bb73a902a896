"""What a consumer raises to tell the worker something.

::

    ConsumerSignal
    ├── ConsumeLater              put the message at the back of its queue and try again
    └── ChannelSocketException    do something instead of failing: ``run(message)``

An application framework derives its own from these. Anything else that a consumer raises is an error:
it is logged, what the consumer had queued to send is dropped, and the worker goes on.
"""

from __future__ import annotations

from typing import Any, ClassVar


class ConsumerSignal(Exception):
    """Base class of everything a consumer may raise on purpose."""


class ConsumeLater(ConsumerSignal):
    """The message cannot be dealt with yet; it goes to the back of its channel, ten times at most."""


class ChannelSocketException(ConsumerSignal):
    """The worker calls `run` in place of the rest of the consumer; what `run` sends is sent."""

    keeps_sends: ClassVar[bool] = True
    """Whether what the consumer had queued before it raised is sent too, ahead of what `run` sends."""

    def run(self, message: Any) -> None:
        """Deal with the message; a subclass says how."""
        raise NotImplementedError
