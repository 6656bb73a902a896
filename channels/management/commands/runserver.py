"""``manage.py runserver``: an interface server and workers in one process, for development."""

from __future__ import annotations

import atexit
import os
import socket
import sys
import threading
from datetime import datetime
from typing import Any

import django
from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.management.commands.runserver import Command as StaticFilesCommand
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser
from django.core.management.commands.runserver import Command as PlainCommand
from django.db import connections
from django.utils import autoreload

from channels.rooms import check_rooms

# Channels 4 has no file of this name, so this one stays when it is installed over this distribution, among its files.
check_rooms(neighbours=True)

from channel_layer.memory import MemoryChannelLayer  # noqa: E402
from channel_layer.registry import DEFAULT_CHANNEL_LAYER  # noqa: E402
from channels import log  # noqa: E402
from channels.configured_layers import ChannelLayerWrapper, channel_layers  # noqa: E402
from channels.hosting.application import hosted_application  # noqa: E402
from channels.management.working import log_message, open_layer, reach, route_with, websocket_protocols  # noqa: E402
from channels.routing import get_default_application  # noqa: E402
from channels.runtime.hooks import project_hooks  # noqa: E402
from channels.runtime.sync_threads import SyncThreads  # noqa: E402
from channels.staticfiles import http_consumer  # noqa: E402
from interface_server.application import Application  # noqa: E402
from interface_server.endpoints import Endpoint, EndpointError  # noqa: E402
from interface_server.options import Options, OptionsError  # noqa: E402
from interface_server.server import Server, build_server  # noqa: E402
from workers import Worker  # noqa: E402
from workers.lifespan import StartupFailed  # noqa: E402

WORKER_THREADS = 4
STOP_SECONDS = 2.0
"""Longest time for a stop: a developer waits for it at each change of the code."""


def has_application() -> bool:
    """True if the project has an application of Channels 2 to 4, which may do without CHANNEL_LAYERS.

    Raises:
        CommandError: its ASGI_APPLICATION cannot be used.
    """
    try:
        return hosted_application("websocket") is not None or hosted_application("http") is not None
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from error


def layer_of_its_own() -> ChannelLayerWrapper:
    """A layer between the two halves of this process, of which the project knows nothing."""
    return ChannelLayerWrapper(MemoryChannelLayer(), DEFAULT_CHANNEL_LAYER, None)  # type: ignore[abstract]


class Command(StaticFilesCommand):
    """The command. With neither CHANNEL_LAYERS nor an ASGI_APPLICATION, or with ``--noasgi``, it is Django's own."""

    help = "Starts an interface server and workers in one process, for development."

    addr: str
    port: str

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options, Django's among them."""
        super().add_arguments(parser)
        parser.add_argument(
            "--noworker",
            action="store_false",
            dest="run_worker",
            help="Serve connections only; run the consumers with manage.py runworker.",
        )
        parser.add_argument(
            "--noasgi", action="store_false", dest="use_asgi", help="Run Django's own server, without channels."
        )
        parser.add_argument(
            "--http_timeout",
            type=float,
            default=Options().http_timeout,
            metavar="SECONDS",
            help="How long a request waits for its response (default: %(default)g)",
        )
        parser.add_argument(
            "--websocket_handshake_timeout",
            type=float,
            default=Options().accept_timeout,
            metavar="SECONDS",
            help="How long a WebSocket waits to be accepted (default: %(default)g)",
        )

    def get_handler(self, *args: Any, **options: Any) -> Any:
        """The WSGI application of Django's own server."""
        if apps.is_installed("django.contrib.staticfiles"):
            return super().get_handler(*args, **options)
        return PlainCommand.get_handler(self, *args, **options)

    def inner_run(self, *args: Any, **options: Any) -> None:
        """Check the project and serve it; called anew after each change of the code."""
        if options["use_asgi"]:
            self._require_application()
        if not (options["use_asgi"] and (channel_layers.configs or has_application())):
            super().inner_run(*args, **options)
            return
        autoreload.raise_last_exception()
        if not options["skip_checks"]:
            self.stdout.write("Performing system checks...\n\n")
            self.check(display_num_errors=True)
        self.check_migrations()
        connections.close_all()
        try:
            self._serve(options)
        except CommandError as error:
            if not options["use_reloader"]:
                raise
            self.stderr.write(f"Error: {error}")
            self.stderr.write("Waiting for the code to change.")

    def _require_application(self) -> None:
        """Refuse to serve a project of Channels 2 to 4 that names no application, as its ``runserver`` does."""
        if apps.is_installed("daphne") and not any("ROUTING" in entry for entry in channel_layers.configs.values()):
            try:
                get_default_application()
            except ImproperlyConfigured as error:
                raise CommandError(str(error)) from error

    def _serve(self, options: dict[str, Any]) -> None:
        log.set_up(options["verbosity"])
        layer = open_layer(DEFAULT_CHANNEL_LAYER) if channel_layers.configs else layer_of_its_own()
        if layer.local_only and not options["run_worker"]:
            raise CommandError(
                f"channel layer {layer.alias!r} ({layer.describe()}) reaches no further than this process: with "
                "--noworker nobody would answer. Leave the option away, or use the sqlite or redis layer."
            )
        reach(layer)
        try:
            server_options = Options(
                http_timeout=options["http_timeout"],
                accept_timeout=options["websocket_handshake_timeout"],
                graceful_timeout=STOP_SECONDS,
                access_log="-",
                verbosity=options["verbosity"],
                subprotocols=websocket_protocols(),
            )
        except (OptionsError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from error
        endpoint = Endpoint(host="0.0.0.0" if self.addr == "0" else self.addr, port=int(self.port))
        server = build_server(Application(layer.channel_layer, server_options), endpoints=[endpoint])
        worker = self._worker(layer, options) if options["run_worker"] else None
        try:
            sockets = server.bind()
        except EndpointError as error:
            self.stderr.write(f"Error: {error}")
            os._exit(1)  # a thread of the autoreloader's cannot end the process in another way
        self._banner(layer, worker)
        self._run(server, sockets, worker, layer)

    def _run(
        self, server: Server, sockets: list[socket.socket], worker: Worker | None, layer: ChannelLayerWrapper
    ) -> None:
        done = threading.Event()
        # With the autoreloader this is a daemon thread: the process ends around it unless it is waited for.
        atexit.register(_stop, server, worker, done)
        team = _Work(worker, server) if worker is not None else None
        try:
            server.run(sockets)
        finally:
            if team is not None:
                team.stop()
            layer.close()
            done.set()
            atexit.unregister(_stop)
        if team is not None and team.failure is not None:
            raise CommandError(str(team.failure)) from team.failure

    def _worker(self, layer: ChannelLayerWrapper, options: dict[str, Any]) -> Worker:
        consumer = http_consumer(options["use_static_handler"], options["insecure_serving"])
        threads = WORKER_THREADS if options["use_threading"] else 1
        return Worker(
            layer,
            route_with(layer, consumer),
            threads=threads,
            hooks=project_hooks(),
            grace=STOP_SECONDS,
            signal_handlers=False,
            on_message=log_message if options["verbosity"] > 1 else None,
            sync_side=SyncThreads(threads),
        )

    def _banner(self, layer: ChannelLayerWrapper, worker: Worker | None) -> None:
        host = f"[{self.addr}]" if ":" in self.addr else "0.0.0.0" if self.addr == "0" else self.addr
        workers = f"{worker.threads} worker threads" if worker is not None else "no workers in this process"
        quit_command = "CTRL-BREAK" if sys.platform == "win32" else "CONTROL-C"
        self.stdout.write(
            f"{datetime.now().strftime('%B %d, %Y - %X')}\n"
            f"Django version {django.get_version()}, using settings {settings.SETTINGS_MODULE!r}\n"
            f"Starting development server at http://{host}:{self.port}/\n"
            f"Channel layer {layer.alias!r}: {layer.describe()}, {workers}\n"
            f"Quit the server with {quit_command}.\n"
        )
        self.stdout.flush()


class _Work:
    """A worker in a thread of its own, from now on.

    Args:
        worker: the worker.
        server: stopped if the worker cannot start.

    Attributes:
        failure: why it could not.
    """

    def __init__(self, worker: Worker, server: Server) -> None:
        self.failure: StartupFailed | None = None
        self._worker = worker
        self._server = server
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._worker.run()
        except StartupFailed as error:
            self.failure = error
            self._server.should_exit = True

    def stop(self) -> None:
        """Have running consumers finish, within `STOP_SECONDS`."""
        self._worker.stop()
        self._thread.join(STOP_SECONDS + 1)


def _stop(server: Server, worker: Worker | None, done: threading.Event) -> None:
    """Stop what runs, and wait for it as long as a stop may take."""
    server.should_exit = True
    if worker is not None:
        worker.stop()
    done.wait(STOP_SECONDS + 1)
