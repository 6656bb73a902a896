"""Test cases whose channel layers are in memory."""

from __future__ import annotations

from collections.abc import Sequence

from django.test import TestCase, TransactionTestCase

from channel_layer.registry import DEFAULT_CHANNEL_LAYER
from channels.configured_layers import channel_layers
from channels.message import Message

from .client import Client, next_message
from .layers import in_memory
from .routes import apply_routes
from .unittest_internals import EarlySetUp

__all__ = [
    "ChannelTestCase",
    "ChannelTestCaseMixin",
    "Client",
    "TransactionChannelTestCase",
    "apply_routes",
]


class ChannelTestCaseMixin(EarlySetUp):
    """Gives each test empty memory layers in place of the configured ones, with their routing.

    They are there from before ``setUp`` until everything that ``addCleanup`` registered has run.

    Attributes:
        test_channel_aliases: the layers to replace; the others stay what the settings make them.
    """

    test_channel_aliases: Sequence[str] = [DEFAULT_CHANNEL_LAYER]

    def _set_up_early(self) -> None:
        super()._set_up_early()
        self.enterContext(in_memory(self.test_channel_aliases))

    def get_next_message(
        self, channel: str, alias: str = DEFAULT_CHANNEL_LAYER, require: bool = False
    ) -> Message | None:
        """Take the next message off a channel.

        Args:
            channel: name of the channel.
            alias: of its layer.
            require: whether the test fails if there is none.
        """
        message = next_message(channel_layers[alias], channel)
        if message is None and require:
            self.fail(f"Expected a message on channel {channel}, got none")
        return message


class ChannelTestCase(ChannelTestCaseMixin, TestCase):
    """Django's `TestCase` with layers in memory."""


class TransactionChannelTestCase(ChannelTestCaseMixin, TransactionTestCase):
    """Django's `TransactionTestCase` with layers in memory."""
