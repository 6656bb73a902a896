"""`DaphneProcess`: a `daphne.server.Server` in a process of its own, for tests."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkProcess
from typing import Any

from .server import Server

__all__ = ["DaphneProcess"]

FORKS = multiprocessing.get_context("fork")
"""The process has the settings of the tests. Python 3.14 and later would begin an empty one."""


class DaphneProcess(ForkProcess):
    """Starts a server and tells its port.

    Attributes:
        port: of the server, once ``ready`` is set.
        ready: set when the server listens.
        errors: pairs of an exception and its traceback, if the server could not start.

    Args:
        host: where to listen.
        get_application: called in the process; returns the application.
        kwargs: further arguments of `Server`.
        setup, teardown: called in the process, before and after.
        port: to listen on; a free one if left out.
    """

    def __init__(
        self,
        host: str,
        get_application: Callable[[], Any],
        kwargs: Mapping[str, Any] | None = None,
        setup: Callable[[], None] | None = None,
        teardown: Callable[[], None] | None = None,
        port: int | None = None,
    ) -> None:
        super().__init__()
        self.host = host
        self.get_application = get_application
        self.kwargs = dict(kwargs or {})
        self.setup = setup
        self.teardown = teardown
        self.port = FORKS.Value("i", port or 0)
        self.ready = FORKS.Event()
        self.errors: Any = FORKS.Queue()

    def run(self) -> None:
        """Serve until the process is terminated."""
        try:
            if self.setup is not None:
                self.setup()
            endpoint = f"tcp:port={self.port.value}:interface={self.host}"
            self._server = Server(
                self.get_application(),
                [endpoint],
                signal_handlers=False,
                ready_callable=self._tell_port,
                **self.kwargs,
            )
            try:
                self._server.run()
            finally:
                if self.teardown is not None:
                    self.teardown()
        except BaseException as error:
            self.errors.put((error, traceback.format_exc()))

    def _tell_port(self) -> None:
        self.port.value = self._server.listening_addresses[0][1]
        self.ready.set()
