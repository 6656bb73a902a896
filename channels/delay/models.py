"""The table of messages that wait until they are due."""

from __future__ import annotations

import json
from datetime import timedelta

from django.db import models
from django.utils import timezone

from channel_layer.channel import Channel
from channel_layer.exceptions import ChannelFull
from channel_layer.layer import ChannelLayer
from channel_layer.registry import DEFAULT_CHANNEL_LAYER
from channels.configured_layers import channel_layers


class DelayedMessageQuerySet(models.QuerySet["DelayedMessage"]):
    """Selections of waiting messages."""

    def is_due(self) -> DelayedMessageQuerySet:
        """Select the messages that are due."""
        return self.filter(due_date__lte=timezone.now())


class DelayedMessage(models.Model):
    """A message that waits until it is due.

    Attributes:
        due_date: time at which it is sent.
        channel_name: channel that it is sent to.
        content: the message as JSON text.
    """

    due_date = models.DateTimeField(db_index=True)
    channel_name = models.CharField(max_length=512)
    content = models.TextField()

    objects = DelayedMessageQuerySet.as_manager()

    def __str__(self) -> str:
        return f"for {self.channel_name}, due {self.due_date:%Y-%m-%d %H:%M:%S}"

    @property
    def delay(self) -> float:
        """The delay in milliseconds as it was last set; setting it computes `due_date` from now."""
        return self._delay

    @delay.setter
    def delay(self, milliseconds: float) -> None:
        self._delay = milliseconds
        self.due_date = timezone.now() + timedelta(milliseconds=milliseconds)

    def send(self, channel_layer: ChannelLayer | None = None, requeue_delay: float = 1000) -> None:
        """Send the message now, and remove it from the table if it is there.

        It is removed first, so that only one of several processes sends it. If its channel is full, it is stored
        again with a new due time.

        Args:
            channel_layer: layer to send to; the default layer if none is given.
            requeue_delay: milliseconds until it is due again if its channel is full.

        Raises:
            LayerUnavailable: the message is no longer in the table; if ``uncertain``, it may have been sent.
        """
        layer = channel_layer if channel_layer is not None else channel_layers[DEFAULT_CHANNEL_LAYER]
        if not self._state.adding:
            removed, _ = type(self).objects.using(self._state.db).filter(pk=self.pk).delete()
            if not removed:
                return
            self._state.adding = True
        try:
            Channel(self.channel_name, channel_layer=layer).send(json.loads(self.content), immediately=True)
        except ChannelFull:
            self.delay = requeue_delay
            self.save(force_insert=True)
        else:
            self.pk = None
