"""`Binding`: send changes of a model to groups, and make the changes that messages ask for, in any protocol."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import models, transaction
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save

from channel_layer.channel import Group
from channel_layer.delivery import Content

from ..generic.applying import Captured, Handler, channel_session, channel_session_user
from ..generic.json_text import Json
from ..message import DecoratedMessage
from .instances import Instance, Key, User, load_deferred, stored, with_values
from .registry import BindingMetaclass

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

CREATE = "create"
UPDATE = "update"
DELETE = "delete"


class Binding(metaclass=BindingMetaclass):
    """Binds a model to groups (outbound) and to messages (inbound).

    Outbound, a subclass names the groups of an instance in `group_names` and makes the content in `serialize`.
    A save or a delete then sends, in this order, a delete to the groups that the instance has left, an
    update to those it stays in, and a create to those it has joined. Changes that send no signals
    (``QuerySet.update``, ``bulk_create``, many-to-many relations, raw SQL) are not noticed.

    Inbound, `consumer` takes messages: `deserialize` reads one, `has_permission` allows or refuses it,
    `create`, `update` or `delete` make the change.

    Subclasses are registered when the applications are ready; a module that defines some must have
    been imported in every process whose changes are to be seen. A class that sets ``model = None``
    itself is abstract.

    Attributes:
        model: the model, or ``"app_label.Model"``.
        stream: the stream that messages are sent on. Without it, and without `group_names`, nothing is sent.
        fields: names of the fields that are sent and may be written; ``["__all__"]`` is all.
        exclude: names of the fields that are not, if ``fields`` is not set.
        channel_session_user: give inbound messages a ``channel_session`` and its ``user``.
        channel_session: give inbound messages a ``channel_session``.
        send_on_commit: send when the transaction of the change is committed, and nothing if it is
            rolled back. By default messages are sent at once (in a consumer or a view that runs in a
            worker: when it ends).
        signal_kwargs: the keyword arguments of the signal that is being handled.
        model_label: ``"app_label.model"``, in lower case.
        instance: outbound, the one that has changed.
        message, kwargs, action, pk, data, user: inbound, the message, what its route captured, its content, and
            its user.
    """

    model: Any = None  # a label until the class is registered, a model from then on
    stream: str | None = None
    fields: Sequence[str] | None = None
    exclude: Sequence[str] | None = None
    channel_session_user: bool = True
    channel_session: bool = False
    send_on_commit: bool = False
    signal_kwargs: dict[str, object] | None = None
    model_label: str

    instance: Instance
    message: DecoratedMessage
    kwargs: dict[str, Captured]
    action: str
    pk: Key
    data: Json
    user: User

    # -- registration ----------------------------------------------------------------------------

    @classmethod
    def register(cls) -> None:
        """Connect to the signals of `get_registered_models`. May be called again.

        Raises:
            ValueError: as `get_registered_models`.
        """
        models = cls.get_registered_models()
        for model in models if cls._sends() else ():
            pre_save.connect(cls.pre_save_receiver, sender=model)
            post_save.connect(cls.post_save_receiver, sender=model)
            pre_delete.connect(cls.pre_delete_receiver, sender=model)
            post_delete.connect(cls.post_delete_receiver, sender=model)

    @classmethod
    def get_registered_models(cls) -> list[type[models.Model]]:
        """Resolve and return the model; nothing for an abstract class.

        Raises:
            ValueError: ``model`` is missing or not a model with a table, ``fields`` and ``exclude`` are both missing,
                or one of them is text.
        """
        if cls.model is None:
            if "model" in cls.__dict__:
                return []
            raise ValueError(cls._complaint("has no model; set it, or model = None if the class is abstract"))
        if cls.fields is None and cls.exclude is None:
            raise ValueError(cls._complaint('has neither fields nor exclude; set fields = ["__all__"] for all fields'))
        for name in ("fields", "exclude"):
            if isinstance(getattr(cls, name), str) and getattr(cls, name) != "__all__":
                raise ValueError(cls._complaint(f"has text as {name}; it is a list of names"))
        cls.model = cls._resolve_model(cls.model)
        cls.model_label = cls.model._meta.label_lower
        return [cls.model]

    @classmethod
    def _sends(cls) -> bool:
        """Tell if the class has a stream or names groups; without either it only takes messages."""
        return cls.stream is not None or cls.group_names.__func__ is not Binding.group_names.__func__  # type: ignore[attr-defined]

    @classmethod
    def _resolve_model(cls, model: object) -> type[models.Model]:
        if isinstance(model, str):
            try:
                return apps.get_model(model)
            except (LookupError, ValueError) as error:
                raise ValueError(cls._complaint(f"has the model {model!r}, which does not exist: {error}")) from error
        if not (isinstance(model, type) and issubclass(model, models.Model)) or model._meta.abstract:
            raise ValueError(cls._complaint(f"has {model!r} as model, which is not a model with a table"))
        return model

    @classmethod
    def _complaint(cls, problem: str) -> str:
        return f"the binding {cls.__module__}.{cls.__qualname__} {problem}"

    # -- outbound --------------------------------------------------------------------------------

    @classmethod
    def group_names(cls, instance: Instance) -> Iterable[str]:
        """Name the groups that are told of changes to an instance. Subclasses that send override it."""
        raise NotImplementedError(cls._complaint("sends nothing without group_names(cls, instance)"))

    def serialize(self, instance: Instance, action: str) -> Json:
        """Make the payload for an action on an instance; ``{}`` sends nothing. Subclasses that send override it."""
        raise NotImplementedError(self._complaint("sends nothing without serialize(self, instance, action)"))

    @classmethod
    def encode(cls, stream: str, payload: Json) -> Content:
        """Make the message that carries a payload on a stream. Subclasses that send override it."""
        raise NotImplementedError(cls._complaint("sends nothing without encode(cls, stream, payload)"))

    @classmethod
    def pre_save_receiver(cls, instance: Instance, **kwargs: object) -> None:
        """Prepare for a save; connected to ``pre_save``."""
        cls.pre_change_receiver(instance, CREATE if instance._state.adding else UPDATE)

    @classmethod
    def post_save_receiver(cls, instance: Instance, created: bool, **kwargs: object) -> None:
        """Report a save; connected to ``post_save``."""
        cls.post_change_receiver(instance, CREATE if created else UPDATE, **kwargs)

    @classmethod
    def pre_delete_receiver(cls, instance: Instance, **kwargs: object) -> None:
        """Prepare for a deletion; connected to ``pre_delete``."""
        cls.pre_change_receiver(instance, DELETE)

    @classmethod
    def post_delete_receiver(cls, instance: Instance, **kwargs: object) -> None:
        """Report a deletion; connected to ``post_delete``."""
        cls.post_change_receiver(instance, DELETE, **kwargs)

    @classmethod
    def pre_change_receiver(cls, instance: Instance, action: str) -> None:
        """Note on the instance the groups that it belongs to before the change.

        For an update this takes a query, because the instance has its new values already.
        """
        before: models.Model | None = None
        if action == UPDATE:
            before = stored(instance)
        elif action == DELETE:
            load_deferred(instance)  # afterwards there is nothing to load them from
            before = instance
        names = set() if before is None else set(cls.group_names(before))
        if not hasattr(instance, "_binding_group_names"):
            instance._binding_group_names = {}
        instance._binding_group_names[cls] = names

    @classmethod
    def post_change_receiver(cls, instance: Instance, action: str, **kwargs: object) -> None:
        """Send the change to the groups of before and after it.

        Raises:
            ValueError: the class has no stream.
            ChannelLayerError: as `Group.send`.
        """
        old = instance._binding_group_names[cls]
        current = instance if action == DELETE else with_values(instance)
        new = set() if action == DELETE else set(cls.group_names(current))
        self = cls()
        self.instance = instance
        self.send_messages(current, old - new, DELETE, **kwargs)
        self.send_messages(current, old & new, UPDATE, **kwargs)
        self.send_messages(current, new - old, CREATE, **kwargs)

    def send_messages(self, instance: Instance, group_names: Iterable[str], action: str, **kwargs: Any) -> None:
        """Serialize an instance and send it to groups.

        Args:
            instance: the one that has changed.
            group_names: where to; nothing is serialized for none.
            action: create, update or delete.
            kwargs: become `signal_kwargs`; Django's signals say which there are.

        Raises:
            ValueError: the class has no stream.
        """
        names = list(group_names)
        if not names:
            return
        self.signal_kwargs = kwargs
        payload = self.serialize(instance, action)
        if payload == {}:
            return
        if self.stream is None:
            raise ValueError(self._complaint("has no stream; set it to the name of the stream it sends on"))
        message = self.encode(self.stream, payload)
        for name in names:
            if self.send_on_commit:
                transaction.on_commit(functools.partial(Group(name).send, message), using=kwargs.get("using"))
            else:
                Group(name).send(message)

    # -- inbound ---------------------------------------------------------------------------------

    @classmethod
    def consumer(cls, message: DecoratedMessage, **kwargs: Captured) -> object:
        """Make the change that a message asks for; the consumer for a route or a demultiplexer."""
        return cls.get_handler()(message, **kwargs)

    @classmethod
    def get_handler(cls) -> Handler:
        """Return `trigger_inbound` with the session decorators that the attributes name."""
        if cls.channel_session_user:
            return channel_session_user(cls.trigger_inbound)
        if cls.channel_session:
            return channel_session(cls.trigger_inbound)
        return cls.trigger_inbound

    @classmethod
    def trigger_inbound(cls, message: DecoratedMessage, **kwargs: Captured) -> None:
        """Make the change that a message asks for, if its user has permission.

        Raises:
            ValueError: as `run_action`.
        """
        self = cls()
        self.message = message
        self.kwargs = kwargs
        self.action, self.pk, self.data = self.deserialize(message)
        self.user = message.user if hasattr(message, "user") else _anonymous()
        self.run_action(self.action, self.pk, self.data)

    def deserialize(self, message: DecoratedMessage) -> tuple[str, Key, Json]:
        """Read action, primary key (``None`` to create) and data (``None`` to delete) from a message."""
        raise NotImplementedError(self._complaint("takes nothing without deserialize(self, message)"))

    def has_permission(self, user: User, action: str, pk: Key) -> bool:
        """Tell if a user may create an instance (``pk`` is ``None``), or update or delete the one with this key."""
        raise NotImplementedError(self._complaint("allows nothing without has_permission(self, user, action, pk)"))

    def run_action(self, action: str, pk: Key, data: Json) -> None:
        """Create, update or delete if the user has permission; otherwise do nothing.

        Raises:
            ValueError: there is no such action.
        """
        if not self.has_permission(self.user, action, pk):
            return
        if action == CREATE:
            self.create(data)
        elif action == UPDATE:
            self.update(pk, data)
        elif action == DELETE:
            self.delete(pk)
        else:
            raise ValueError(self._complaint(f"knows no action {action!r}; there are create, update and delete"))

    def create(self, data: Json) -> None:
        """Create an instance. Subclasses that take messages override it."""
        raise NotImplementedError(self._complaint("creates nothing without create(self, data)"))

    def update(self, pk: Key, data: Json) -> None:
        """Update an instance. Subclasses that take messages override it."""
        raise NotImplementedError(self._complaint("updates nothing without update(self, pk, data)"))

    def delete(self, pk: Key) -> None:
        """Delete the instance, if it exists."""
        self.model._default_manager.filter(pk=pk).delete()


def _anonymous() -> AnonymousUser:
    from django.contrib.auth.models import AnonymousUser  # models want the apps to be ready

    return AnonymousUser()
