"""The project's settings with probes in place of its routes, for the processes that ``millrace verify`` starts."""

from __future__ import annotations

import importlib
from typing import Any

from .plan import read_plan

_plan = read_plan()
_project = importlib.import_module(_plan["settings"])
globals().update({name: getattr(_project, name) for name in dir(_project) if name.isupper()})


def _probed(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of CHANNEL_LAYERS in a part of the layer of its own, with the routes of the probes."""
    config = {**(entry.get("CONFIG") or {}), **_plan["own"]}
    options = {name: value for name, value in config.items() if value is not None}
    return {**entry, "CONFIG": options, "ROUTING": "channels.verification.probes.routing"}


CHANNEL_LAYERS = {"default": _probed(_project.CHANNEL_LAYERS[_plan["alias"]])}
ASGI_APPLICATION = "channels.verification.probes.application"
LOGGING_CONFIG = None  # the project's log is not for what is broken on purpose
