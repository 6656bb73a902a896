"""The exceptions by which a consumer tells the worker something.

::

    ConsumerSignal
    ├── ConsumeLater              put the message at the back of its channel and try again
    │   └── LeaveToOthers         put it back to the front of its channel, as if nobody had taken it
    └── ChannelSocketException    do something instead of failing: ``run(message)``

An application framework derives its own from these. Anything else that a consumer raises is an error:
it is logged, the messages that the consumer had queued are dropped, and the worker goes on.
"""

from __future__ import annotations

from typing import ClassVar

from channel_layer.channel import Message


class ConsumerSignal(Exception):
    """Base class of the exceptions that a consumer raises on purpose."""


class ConsumeLater(ConsumerSignal):
    """The message cannot be dealt with yet; it goes to the back of its channel, ten times at most."""


class LeaveToOthers(ConsumeLater):
    """This worker has no room; the message goes back to where it was, with the time at which it expires."""


class ChannelSocketException(ConsumerSignal):
    """Call `run` in place of the rest of the consumer. The messages that `run` sends are sent."""

    keeps_sends: ClassVar[bool] = True
    """True if the messages that the consumer had queued before it raised are sent too, ahead of those of `run`."""

    def run(self, message: Message) -> None:
        """Deal with the message; to be overridden.

        Raises:
            NotImplementedError: it has not been overridden.
        """
        raise NotImplementedError
