"""Test tools of Channels 2 to 4: ASGI applications driven in the test's event loop, without a server or a worker.

Those of Channels 1 are in `channels.test`.
"""

from .application import ApplicationCommunicator
from .http import HttpCommunicator
from .websocket import WebsocketCommunicator

__all__ = ["ApplicationCommunicator", "HttpCommunicator", "WebsocketCommunicator"]
