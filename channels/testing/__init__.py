"""Test tools of Channels 2 to 4: ASGI applications driven in the test's event loop, or in a server beside the test.

Those of Channels 1 are in `channels.test`.
"""

from .application import ApplicationCommunicator
from .http import HttpCommunicator
from .live import ChannelsLiveServerTestCase
from .websocket import WebsocketCommunicator

__all__ = ["ApplicationCommunicator", "ChannelsLiveServerTestCase", "HttpCommunicator", "WebsocketCommunicator"]
