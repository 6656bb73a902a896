"""Tools for testing consumers: test cases, clients, routes for a test, and a live server.

They need no server, and run under Django's test runner and under pytest.
"""

from .base import ChannelTestCase, TransactionChannelTestCase
from .client import Client
from .http import HttpClient
from .liveserver import ChannelLiveServerTestCase
from .routes import apply_routes
from .websocket import WSClient

__all__ = [
    "ChannelLiveServerTestCase",
    "ChannelTestCase",
    "Client",
    "HttpClient",
    "TransactionChannelTestCase",
    "WSClient",
    "apply_routes",
]
