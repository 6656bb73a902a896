"""A layer for a subcommand: opened, asked with a limit of time, and closed, with one sentence for each failure."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from django.core.management.base import CommandError

from channel_layer.exceptions import ChannelFull, ChannelLayerError, LayerUnavailable, clause
from channel_layer.layer import ChannelLayer
from channel_layer.reports import REPORTS, Report

from ..configured_layers import ChannelLayerWrapper
from ..management.working import open_layer

WRONG: Final = 1
"""Status of a command that could not do what it was to do."""

USAGE: Final = 2
"""Status of a command that was called in a way that makes no sense, as of `argparse`."""

AWAY: Final = 3
"""Status of a command that cannot reach the channel layer."""

ANSWER_SECONDS: Final = 1.8
"""Time for the first answer of a layer. Its own limits are for programs, which wait longer than people."""

T = TypeVar("T")


def in_time(layer: ChannelLayer, work: Callable[[], T]) -> T:
    """Make the first calls to a layer, which may be away without saying so.

    Raises:
        LayerUnavailable: as the layer says, or because it says nothing. Then a thread goes on waiting, which does not
            keep the process from ending.
    """
    outcome: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put((work(), None))
        except BaseException as error:
            outcome.put((None, error))

    threading.Thread(target=run, name="first-answer", daemon=True).start()
    try:
        result, error = outcome.get(timeout=ANSWER_SECONDS)
    except queue.Empty:
        raise LayerUnavailable(layer.describe(), "it does not answer within 2 seconds", uncertain=False) from None
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return]


@contextlib.contextmanager
def reached(alias: str) -> Iterator[tuple[ChannelLayerWrapper, list[Report]]]:
    """The layer of an alias, which has answered, and the reports that it keeps; closed after the block.

    Raises:
        CommandError: it cannot be used, or cannot be reached, then or in the block; or a name or message is bad.
    """
    layer = open_layer(alias)
    try:
        refuse_local(layer)
        yield layer, in_time(layer, lambda: _first_look(layer))
    except LayerUnavailable as error:
        raise CommandError(clause(error), returncode=AWAY) from error
    except ChannelLayerError as error:
        status = WRONG if isinstance(error, ChannelFull) else USAGE
        raise CommandError(clause(error), returncode=status) from error
    finally:
        layer.close()


def _first_look(layer: ChannelLayer) -> list[Report]:
    if REPORTS in layer.extensions:
        return layer.reports()
    layer.check()
    return []


def refuse_local(layer: ChannelLayer) -> None:
    """Refuse a layer that no other process can share; raises `CommandError`."""
    if layer.local_only:
        raise CommandError(
            f"the channel layer {layer.describe()} reaches no further than its own process, so there is nothing to see "
            "from here; use the redis, sqlite or postgres layer",
            returncode=WRONG,
        )


def need(layer: ChannelLayer, extension: str, what: str) -> None:
    """Refuse what a layer lacks; raises `CommandError`."""
    if extension not in layer.extensions:
        raise CommandError(
            f"the channel layer {layer.describe()} cannot {what} (it lacks the extension {extension!r}); "
            "use the redis, sqlite or postgres layer",
            returncode=WRONG,
        )
