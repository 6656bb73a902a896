"""Settings that the processes of a verification share, on their way from the command to them."""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils.module_loading import import_string

from channel_layer.exceptions import ChannelLayerError, clause
from channel_layer.layer import ChannelLayer
from channel_layer.redis import RedisChannelLayer, RedisClusterChannelLayer
from channel_layer.sqlite import SqliteChannelLayer

from ..backends import POSTGRES, RABBITMQ, make_layer
from ..configured_layers import channel_layers

if TYPE_CHECKING:
    from channel_layer.postgres import PostgresChannelLayer

VARIABLE = "MILLRACE_VERIFY"
"""Environment variable with the plan, for processes."""

SETTINGS = "channels.verification.settings"
LAYER = "channels.verification.asgi:channel_layer"

SCHEMA_LENGTH = 15
"""Letters of the name of the project's schema in that of a verification, which has 31 at most."""

PREFIX_LENGTH = 20
"""Letters of the prefix of the project's queues in that of a verification."""

logger = logging.getLogger("channels.management")


class VerificationError(Exception):
    """The verification cannot be run; the text is one sentence that says what to do."""


@dataclass(frozen=True)
class Part:
    """A part of a channel layer for one fault.

    Attributes:
        plan: for `environment`.
        cut: cuts all connections to the broker; ``None`` if that is not possible.
    """

    plan: str
    cut: Callable[[], None] | None = None


def is_postgres(alias: str) -> bool:
    """True if the messages of a layer are in a PostgreSQL database."""
    return _is(alias, POSTGRES)


def is_rabbitmq(alias: str) -> bool:
    """True if the messages of a layer are with RabbitMQ."""
    return _is(alias, RABBITMQ)


def _is(alias: str, path: str) -> bool:
    """True if a layer is of a class that needs an extra."""
    try:
        return isinstance(channel_layers[alias].channel_layer, import_string(path))
    except ImportError:
        return False  # the extra is not installed, and so it is no layer's class


@contextmanager
def own_part(alias: str, hosts: list[str] | None = None) -> Iterator[Part]:
    """Make a part of a channel layer for a verification alone, and remove it in the end if it would stay.

    Args:
        alias: entry of CHANNEL_LAYERS to verify.
        hosts: Redis servers to use in place of the project's.

    Raises:
        InvalidChannelLayerError: the entry cannot work.
        VerificationError: the settings are of no module, or the layer cannot be shared without its messages being mixed
            with those of the project, or the part cannot be made.
    """
    module = os.environ.get("DJANGO_SETTINGS_MODULE")
    if not module or not hasattr(settings, "CHANNEL_LAYERS"):
        raise VerificationError("the settings come from no module with CHANNEL_LAYERS; name one with --settings")
    layer = channel_layers[alias].channel_layer
    own: dict[str, Any]
    tidied: Callable[[Any], AbstractContextManager[Callable[[], None] | None]] | None = None
    token = secrets.token_hex(4)
    if hosts is not None and isinstance(layer, RedisClusterChannelLayer):
        raise VerificationError(f"--own-redis starts a server in no cluster, and {alias!r} is {layer.describe()}")
    if isinstance(layer, RedisChannelLayer):
        own = {"prefix": f"{layer.prefix.rstrip(':')}-verify-{token}:"}
        if hosts is not None:
            own["hosts"] = hosts
    elif hosts is not None:
        raise VerificationError(f"--own-redis is for Redis layers, and {alias!r} is {layer.describe()}")
    elif layer.local_only:
        raise VerificationError(
            f"channel layer {alias!r} ({layer.describe()}) reaches no further than one process, so there are no "
            "workers to stop; verify with the sqlite, redis, postgres or rabbitmq layer"
        )
    elif isinstance(layer, SqliteChannelLayer):
        own = {"path": f"{layer.path}-verify-{token}", "name": None}
    elif is_postgres(alias):
        own, tidied = {"schema": f"{layer.schema[:SCHEMA_LENGTH]}_verify_{token}"}, _schema
    elif is_rabbitmq(alias):
        own, tidied = {"prefix": f"{layer.prefix[:PREFIX_LENGTH].rstrip(':')}-verify-{token}:"}, _queues
    else:
        raise VerificationError(
            f"channel layer {alias!r} ({layer.describe()}) has no part of its own for a verification, whose messages "
            "would mix with the project's; verify with the sqlite, redis, postgres or rabbitmq layer"
        )
    plan = json.dumps({"settings": module, "alias": alias, "own": own})
    if tidied is None:
        yield Part(plan)
        return
    entry = channel_layers.config(alias)
    with tidied(make_layer(alias, entry, {**(entry.get("CONFIG") or {}), **own})) as cut:
        yield Part(plan, cut)


@contextmanager
def _schema(layer: PostgresChannelLayer) -> Iterator[Callable[[], None]]:
    """Have a layer make its schema, and drop it in the end; gives what cuts the connections of other processes."""

    def cut() -> None:
        if not layer.cut():
            raise VerificationError(
                f"no connection to {layer.describe()} was found to be cut; PostgreSQL knows them if its setting "
                "track_activities is on"
            )

    try:
        try:
            layer.check()
        except ChannelLayerError as error:
            raise VerificationError(f"no schema was made for the verification alone: {clause(error)}") from error
        try:
            yield cut
        finally:
            try:
                layer.drop()
            except ChannelLayerError as error:
                logger.warning(
                    "%s. So schema %s of the verification is still there; remove it with DROP SCHEMA %s CASCADE.",
                    clause(error), layer.schema, layer.schema,
                )  # fmt: skip
    finally:
        layer.close()


@contextmanager
def _queues(layer: ChannelLayer) -> Iterator[None]:
    """Have the queues that a verification has made removed in the end."""
    try:
        yield
    finally:
        try:
            layer.flush()
        except ChannelLayerError as error:
            logger.warning("%s. So queues of the verification stay for a day: %s", clause(error), layer.describe())
        finally:
            layer.close()


def read_plan() -> Mapping[str, Any]:
    """The plan of the process."""
    plan: Mapping[str, Any] = json.loads(os.environ[VARIABLE])
    return plan


def environment(plan: str) -> dict[str, str]:
    """Environment of a process that is to follow a plan."""
    return os.environ | {VARIABLE: plan, "DJANGO_SETTINGS_MODULE": SETTINGS, "PYTHONUNBUFFERED": "1"}
