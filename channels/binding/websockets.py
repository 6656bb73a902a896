"""Bindings over the streams of a `channels.generic.websockets.WebsocketDemultiplexer`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.core import serializers
from django.core.serializers.base import DeserializedObject
from django.core.serializers.json import DjangoJSONEncoder
from django.db import router, transaction

from channel_layer.messages import RECEIVE, SocketReply
from interface_server.logs.server_log import printable

from ..generic.applying import Captured, Handler, enforce_ordering
from ..generic.json_text import Json
from ..generic.refusing import UNUSABLE, BadFrame, decode_text, refuse
from ..generic.websockets import WebsocketMultiplexer
from ..message import DecoratedMessage
from .base import CREATE, UPDATE, Binding
from .fields import read, writable
from .instances import Instance, Key


class WebsocketBinding(Binding):
    """Sends ``{"action", "pk", "data", "model"}`` on its stream, and takes ``{"action", "pk", "data"}``.

    It needs `group_names` to send, `has_permission` to take, and its `consumer` in a demultiplexer. Only covered
    fields are written, and never the primary key of an existing instance.

    Attributes:
        strict_ordering: see `channels.sessions.enforce_ordering`.
    """

    model: Any = None
    stream: str | None = None
    strict_ordering: bool = False
    slight_ordering: bool = False

    @classmethod
    def encode(cls, stream: str, payload: Json) -> SocketReply:
        """Make the frame that carries a payload on a stream."""
        return WebsocketMultiplexer.encode(stream, payload)

    def serialize(self, instance: Instance, action: str) -> dict[str, object]:
        """Make the payload; see `WebsocketBinding`."""
        return {
            "action": action,
            "pk": instance.pk,
            "data": self.serialize_data(instance),
            "model": self.model_label,
        }

    def serialize_data(self, instance: Instance) -> dict[str, Json]:
        """Read the covered fields by name, in types that JSON has."""
        return read(instance, self.fields, self.exclude)

    @classmethod
    def get_handler(cls) -> Handler:
        """Return `trigger_inbound` with the decorators that the attributes name.

        Raises:
            ValueError: the class sets ``slight_ordering``.
        """
        handler = super().get_handler()
        if cls.strict_ordering:
            return enforce_ordering(handler)
        if cls.slight_ordering:
            raise ValueError(cls._complaint("sets slight_ordering, which no longer exists; remove it"))
        return handler

    @classmethod
    def trigger_inbound(cls, message: DecoratedMessage, **kwargs: Captured) -> None:
        """Make the change that a frame asks for, if its user has permission; ignore connect and disconnect.

        Raises:
            BadFrame: as `deserialize`.
            ValueError: as `run_action`.
        """
        if message.channel.name == RECEIVE:
            super().trigger_inbound(message, **kwargs)

    def deserialize(self, message: DecoratedMessage) -> tuple[str, Key, Json]:
        """Read action, primary key and data from the payload of a frame.

        Raises:
            BadFrame: it has no action, or no dict as data. The socket is closed, with 1003 or 1007.
        """
        body = decode_text(message, f"{type(self).__module__}.{type(self).__qualname__}", json.loads)
        if not isinstance(body, dict) or "action" not in body:
            refuse(message, UNUSABLE, BadFrame(self._complaint(f"got {printable(body, 80)}, which has no action")))
        action, data = body["action"], body.get("data")
        if action in (CREATE, UPDATE) and not isinstance(data, dict):
            problem = f"got {printable(body, 80)}, whose data is not a dict"
            refuse(message, UNUSABLE, BadFrame(self._complaint(problem)))
        return action, body.get("pk"), data

    def create(self, data: dict[str, Json]) -> None:
        """Create an instance in one transaction.

        Raises:
            FieldDoesNotExist: the data names something that is not a field.
            DeserializationError: a value does not fit its field.
            IntegrityError: the primary key is taken.
        """
        hydrated = self._hydrate(None, writable(self.model, data, self.fields, self.exclude, creating=True))
        with transaction.atomic(using=router.db_for_write(self.model)):
            # Not DeserializedObject.save(), which writes what a fixture says: no default dates, no inherited
            # tables, and over an instance that exists.
            hydrated.object.save(force_insert=True)
            for name, related in (hydrated.m2m_data or {}).items():
                getattr(hydrated.object, name).set(related)

    def update(self, pk: Key, data: dict[str, Json]) -> None:
        """Update an instance in one transaction.

        Raises:
            ObjectDoesNotExist: no instance has this primary key.
            FieldDoesNotExist: the data names something that is not a field.
            DeserializationError: a value does not fit its field.
        """
        instance = self.model._default_manager.get(pk=pk)
        changes = writable(self.model, data, self.fields, self.exclude, creating=False)
        hydrated = self._hydrate(pk, changes)
        related = hydrated.m2m_data or {}
        with transaction.atomic(using=router.db_for_write(self.model, instance=instance)):
            for name, values in related.items():
                getattr(instance, name).set(values)
            for name in changes:
                if name not in related:
                    setattr(instance, name, getattr(hydrated.object, name))
            instance.save()

    def _hydrate(self, pk: Key, data: dict[str, object]) -> DeserializedObject:
        """Make an unsaved instance of the data."""
        described = [{"pk": pk, "model": self.model_label, "fields": data}]
        return next(iter(serializers.deserialize("python", described)))


class WebsocketBindingWithMembers(WebsocketBinding):
    """A `WebsocketBinding` that also sends members of the instance.

    Attributes:
        send_members: names of attributes, properties and methods without arguments. A dot leads on,
            and becomes ``__`` in what is sent: ``"owner.get_full_name"``.
        encoder: encodes their values as JSON.
    """

    model: Any = None
    send_members: Sequence[str] = ()
    encoder: json.JSONEncoder = DjangoJSONEncoder()

    def serialize_data(self, instance: Instance, **kwargs: object) -> dict[str, object]:
        """Read the covered fields and the members by name."""
        data = super().serialize_data(instance, **kwargs)
        members: dict[str, object] = {}
        for path in self.send_members:
            member = instance
            for name in path.split("."):
                member = getattr(member, name)
            members[path.replace(".", "__")] = member() if callable(member) else member
        data.update(json.loads(self.encoder.encode(members)))
        return data
