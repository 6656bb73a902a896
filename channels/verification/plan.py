"""Settings that the processes of a verification share, on their way from the command to them."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from typing import Any

from django.conf import settings

from channel_layer.redis import RedisChannelLayer, RedisClusterChannelLayer
from channel_layer.sqlite import SqliteChannelLayer

from ..configured_layers import channel_layers

VARIABLE = "MILLRACE_VERIFY"
"""Environment variable with the plan, for processes."""

SETTINGS = "channels.verification.settings"
LAYER = "channels.verification.asgi:channel_layer"


class VerificationError(Exception):
    """The verification cannot be run; the text is one sentence that says what to do."""


def make_plan(alias: str, hosts: list[str] | None = None) -> str:
    """Describe the processes' settings: those of the project, in a part of the channel layer of their own.

    Args:
        alias: entry of CHANNEL_LAYERS to verify.
        hosts: Redis servers to use in place of the project's.

    Raises:
        InvalidChannelLayerError: the entry cannot work.
        VerificationError: the settings are of no module, or the layer cannot be shared without its messages being mixed
            with those of the project.
    """
    module = os.environ.get("DJANGO_SETTINGS_MODULE")
    if not module or not hasattr(settings, "CHANNEL_LAYERS"):
        raise VerificationError("the settings come from no module with CHANNEL_LAYERS; name one with --settings")
    layer = channel_layers[alias].channel_layer
    own: dict[str, Any]
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
            "workers to stop; verify with the sqlite or redis layer"
        )
    elif isinstance(layer, SqliteChannelLayer):
        own = {"path": f"{layer.path}-verify-{token}", "name": None}
    else:
        raise VerificationError(
            f"channel layer {alias!r} ({layer.describe()}) has no part of its own for a verification, whose messages "
            "would mix with the project's; verify with the sqlite or redis layer"
        )
    return json.dumps({"settings": module, "alias": alias, "own": own})


def read_plan() -> Mapping[str, Any]:
    """The plan of the process."""
    plan: Mapping[str, Any] = json.loads(os.environ[VARIABLE])
    return plan


def environment(plan: str) -> dict[str, str]:
    """Environment of a process that is to follow a plan."""
    return os.environ | {VARIABLE: plan, "DJANGO_SETTINGS_MODULE": SETTINGS, "PYTHONUNBUFFERED": "1"}
