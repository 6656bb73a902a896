"""`ChannelsLiveServerTestCase`: a test case beside a server that runs the project's ASGI_APPLICATION."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import TransactionTestCase, modify_settings

from channels.live_addresses import LiveAddresses
from channels.routing import get_default_application
from daphne.testing import DaphneProcess

__all__ = ["ChannelsLiveServerTestCase"]


class ChannelsLiveServerTestCase(LiveAddresses, TransactionTestCase):
    """Runs its tests beside a server in a process of its own, which has the databases of the tests.

    As in Channels 4, the application runs in the server; `channels.test.ChannelLiveServerTestCase` has a web server and
    workers as in production.

    Attributes:
        ProtocolServerProcess: class of the process.
        static_wrapper: put around the application to serve static files.
        serve_static: whether it is.
    """

    ProtocolServerProcess: ClassVar[Any] = DaphneProcess
    static_wrapper: ClassVar[Any] = ASGIStaticFilesHandler
    serve_static: ClassVar[bool] = True

    _process: ClassVar[Any]

    @classmethod
    def setUpClass(cls) -> None:
        """Start the server.

        Raises:
            ImproperlyConfigured: a database is in memory, where another process cannot see it.
            RuntimeError: the server did not start; with the traceback of its process.
        """
        for connection in connections.all():
            if connection.vendor == "sqlite" and connection.is_in_memory_db():  # type: ignore[attr-defined]
                raise ImproperlyConfigured(
                    f"{cls.__name__} needs databases that another process sees, and {connection.alias!r} is in memory; "
                    "set DATABASES[…]['TEST']['NAME'] to a file"
                )
        super().setUpClass()
        cls.enterClassContext(modify_settings(ALLOWED_HOSTS={"append": cls.host}))
        names = {alias: connections[alias].settings_dict["NAME"] for alias in connections}
        process = cls.ProtocolServerProcess(
            cls.host,
            partial(make_application, cls.static_wrapper if cls.serve_static else None),
            setup=partial(use_databases, names),
        )
        process.start()
        cls.addClassCleanup(_end, process)
        while not process.ready.wait(timeout=0.2):
            if not process.is_alive():
                _, trace = process.errors.get(timeout=5)
                raise RuntimeError(f"the server did not start:\n{trace}")
        cls._port = process.port.value


def make_application(static_wrapper: Callable[[Any], Any] | None) -> Any:
    """The project's application, in the server's process."""
    application = get_default_application()
    return application if static_wrapper is None else static_wrapper(application)


def use_databases(names: Mapping[str, Any]) -> None:
    """Have connections to the databases of the tests, in the server's process; what was inherited is the parent's."""
    for alias, name in names.items():
        connection = connections[alias]
        connection.connection = None
        connection.settings_dict["NAME"] = name


def _end(process: Any) -> None:
    process.terminate()
    process.join()
