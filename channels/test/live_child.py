"""A process of a live test, started by `channels.test.live_processes`.

On standard input comes a plan, pickled; when standard input ends the process stops, however its parent
came to close it. On standard output goes one line, ``ready <port>``; whatever is printed later goes to standard error.
"""

from __future__ import annotations

import os
import pickle
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

if TYPE_CHECKING:  # it wants the settings
    from channels.configured_layers import ChannelLayerWrapper

READY = "ready"

Plan: TypeAlias = dict[str, Any]
"""Plan of a process, made by its parent, which is of the same version."""


def main(plan: Plan, source: BinaryIO) -> None:
    """Do what the parent planned until it hangs up.

    Args:
        plan: what to be, and the settings for it.
        source: standard input, behind the plan.
    """
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    layers = _set_up(plan)
    part = _make(plan, layers)

    from channels.test.live_parts import start
    from workers.lifespan import StartupFailed

    def stop_at_the_end() -> None:
        source.read()
        part.stop()

    def tell_when_ready() -> None:
        with report, suppress(StartupFailed):
            part.wait_until_ready()
            report.write(f"{READY} {getattr(part, 'port', 0)}\n")

    start(stop_at_the_end)
    start(tell_when_ready)
    part.run()
    part.wait_until_ready()  # raises what has kept it from its work


def _set_up(plan: Plan) -> list[ChannelLayerWrapper]:
    """Set Django up with the settings of the test, and its test layers in their places."""
    import django
    from django.conf import settings

    with warnings.catch_warnings():
        # Of settings that are deprecated the test's own process has been warned.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        if plan["settings_module"]:
            os.environ["DJANGO_SETTINGS_MODULE"] = plan["settings_module"]
            for name, value in pickle.loads(plan["settings"]).items():
                setattr(settings, name, value)
        else:
            settings.configure(**pickle.loads(plan["settings"]))
    django.setup(set_prefix=False)
    # Its routing may name consumers, whose modules can be imported only now.
    settings.CHANNEL_LAYERS = pickle.loads(plan["channel_layers"])

    from channels.configured_layers import channel_layers

    layers = []
    for alias in channel_layers.configs:
        layer = channel_layers.make_test_backend(alias)
        channel_layers.set(alias, layer)
        layers.append(layer)
    return layers


def _make(plan: Plan, layers: list[ChannelLayerWrapper]) -> Any:
    from channels.configured_layers import channel_layers
    from channels.test.live_parts import ServerPart, WorkerPart

    if plan["part"] == "server":
        return ServerPart(channel_layers[plan["alias"]], plan["host"])
    return WorkerPart(layers, plan["threads"], plan["serve_static"])
