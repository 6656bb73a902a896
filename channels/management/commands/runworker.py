"""``manage.py runworker``: take messages off a channel layer and run their consumers."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import autoreload

from channel_layer.heap import heap
from channels import log
from channels.configured_layers import ChannelLayerWrapper
from channels.hosting.application import hosted_application
from channels.hosting.background import BackgroundConsumer, background_channels
from channels.management.working import add_layer_option, log_message, open_layer, reach, route_with
from channels.operations.workers import answers_of_supervisor, answers_of_worker, check_metrics, served
from channels.runtime.hooks import project_hooks
from channels.runtime.sync_threads import SyncThreads
from channels.staticfiles import http_consumer
from routing import Router
from routing.routes import Route
from workers import Supervisor, Watchdog, Wear, Worker
from workers.instances import INSTANCES
from workers.lifespan import StartupFailed
from workers.streams import STREAMS
from workers.supervisor import REPLACE, SILENT_MARGIN_SECONDS, exit_with_parent, supervisor_pid
from workers.watchdog import supervisors_pipe
from workers.wear import MIB
from workers.worker import ASYNC_TASKS, IDLE_SECONDS

logger = logging.getLogger("channels.runworker")

DEFAULT_THREADS = 4
DEFAULT_GRACE = 30.0
RELOAD_GRACE = 2.0
"""Longest grace period with --autoreload: a developer waits for it at each change of the code."""

RELOAD = 3
"""Exit code that has Django's reloader start the process again."""

LIMITS = ("consumer_timeout", "max_messages", "max_memory", "max_age")
"""Options that have a process replaced. They have no default."""


class Command(BaseCommand):
    """The command."""

    help = "Runs consumers: takes messages off a channel layer until it is told to stop (SIGTERM or Ctrl-C)."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "channels",
            nargs="*",
            metavar="CHANNEL",
            help="listen on these channels only, of a ChannelNameRouter for example (default: all that have consumers)",
        )
        add_layer_option(parser)
        log.add_format_option(parser)
        parser.add_argument(
            "--only-channels",
            action="append",
            default=[],
            metavar="GLOB",
            help="listen only on routed channels that match, for example 'websocket.*'; may be repeated",
        )
        parser.add_argument(
            "--exclude-channels",
            action="append",
            default=[],
            metavar="GLOB",
            help="do not listen on channels that match; may be repeated",
        )
        parser.add_argument(
            "--threads",
            type=int,
            default=DEFAULT_THREADS,
            metavar="N",
            help="consumers that run at the same time in one process (default: %(default)s)",
        )
        parser.add_argument(
            "--async-tasks",
            type=int,
            default=ASYNC_TASKS,
            metavar="N",
            help="async def consumers that run at the same time in one process, beside those in threads "
            "(default: %(default)s)",
        )
        parser.add_argument(
            "--streams",
            type=int,
            default=STREAMS,
            metavar="N",
            help="streaming responses with an async iterator or from a file that run at the same time in one process, "
            "beside all else; more are answered with 503 (default: %(default)s)",
        )
        parser.add_argument(
            "--instances",
            type=int,
            default=INSTANCES,
            metavar="N",
            help="connections whose ASGI application (ASGI_APPLICATION) lives in one process at a time; more are left "
            "to other workers (default: %(default)s)",
        )
        parser.add_argument(
            "--idle-minutes",
            type=float,
            default=IDLE_SECONDS / 60,
            metavar="M",
            help="let go of an application's instance that has heard nothing for so long; its connection stays open, "
            "and the next event makes it again (default: %(default)g)",
        )
        parser.add_argument(
            "--processes",
            type=int,
            default=1,
            metavar="N",
            help="worker processes to start and keep running (default: %(default)s)",
        )
        parser.add_argument(
            "--grace",
            type=float,
            default=DEFAULT_GRACE,
            metavar="SECONDS",
            help="how long running consumers may take to finish when the worker is stopped (default: %(default)g)",
        )
        parser.add_argument(
            "--consumer-timeout",
            type=float,
            metavar="SECONDS",
            help="give up a consumer that runs for longer: its stack is logged, its request gets 500, its WebSocket is "
            "closed with 1011, and the process is replaced if it cannot be ended alone (default: never)",
        )
        parser.add_argument(
            "--max-messages",
            type=int,
            metavar="N",
            help="replace the process when it has taken about N messages, up to a fifth fewer (default: never)",
        )
        parser.add_argument(
            "--max-memory",
            type=int,
            metavar="MIB",
            help="replace the process when it has so many MiB in memory (default: never)",
        )
        parser.add_argument(
            "--max-age",
            type=float,
            metavar="SECONDS",
            help="replace the process when it is so old, or up to a fifth younger (default: never)",
        )
        parser.add_argument(
            "--autoreload",
            action="store_true",
            help="for development: restart the worker when the code changes; WebSockets stay open",
        )
        parser.add_argument(
            "--metrics",
            default="",
            metavar="[HOST:]PORT",
            help="serve metrics for Prometheus, and health at /-/healthz and /-/readyz; one port for all processes",
        )

    def handle(self, *args: object, **options: Any) -> None:
        """Run until stopped."""
        for name in ("threads", "async_tasks", "streams", "instances", "processes"):
            if options[name] < 1:
                raise CommandError(f"--{name.replace('_', '-')} must be 1 or more, not {options[name]}")
        for name, unit in (("grace", "seconds"), ("idle_minutes", "minutes")):
            if not options[name] > 0:
                raise CommandError(f"--{name.replace('_', '-')} must be more than 0 {unit}, not {options[name]:g}")
        for name, what in zip(LIMITS, ("seconds", "messages", "MiB", "seconds"), strict=True):
            if options[name] is not None and not options[name] > 0:
                raise CommandError(
                    f"--{name.replace('_', '-')} must be more than 0 {what}, not {options[name]:g}; "
                    "leave it away for no limit"
                )
        if not options["autoreload"]:
            self._run(options)
        elif options["processes"] > 1:
            raise CommandError("--autoreload runs one process; leave --processes away")
        else:
            options["grace"] = min(options["grace"], RELOAD_GRACE)
            autoreload.run_with_reloader(self._run_until_change, options)

    def _run_until_change(self, options: dict[str, Any]) -> None:
        """Work beside the thread that looks for changes, which ends the process."""
        autoreload.raise_last_exception()
        try:
            self._run(options)
        except CommandError as error:
            self.stderr.write(f"Error: {error}")
            self.stderr.write("Waiting for the code to change.")
        except SystemExit as end:
            if end.code == REPLACE:
                logging.shutdown()
                os._exit(RELOAD)  # a thread cannot end the process in another way

    def _run(self, options: dict[str, Any]) -> None:
        log.set_up(options["verbosity"], log_format=options["log_format"])
        layer = open_layer(options["layer"])
        if layer.local_only:
            raise CommandError(
                f"channel layer {layer.alias!r} ({layer.describe()}) reaches no further than one process, so a worker "
                "of its own would never get a message. Use the sqlite or redis layer, or manage.py runserver."
            )
        check_metrics(options["metrics"], layer, options["processes"])
        try:
            router = route_with(layer, http_consumer())
            listen_on(options["channels"], router)
            reach(layer)
            if options["processes"] == 1:
                code = self._work(layer, router, options)
        finally:
            # Puts back what a waiting pop took. Processes make connections of their own.
            layer.close()
        if options["processes"] > 1:
            timeout = options["consumer_timeout"]
            silence = None if timeout is None else timeout + SILENT_MARGIN_SECONDS
            supervisor = Supervisor(child_command(options), options["processes"], options["grace"], silence)
            try:
                with served(options["metrics"], answers_of_supervisor(supervisor, layer)):
                    code = supervisor.run()
            finally:
                layer.close()
        if code or options["processes"] > 1:
            sys.exit(code)

    def _work(self, layer: ChannelLayerWrapper, router: Router, options: dict[str, Any]) -> int:
        """Run one worker; returns the exit code of its process."""
        heap.keep_freed()
        watchdog = Watchdog(options["consumer_timeout"], supervisors_pipe())
        try:
            wear = Wear(
                options["max_messages"],
                options["max_memory"] and options["max_memory"] * MIB,
                options["max_age"],
            )
        except ValueError as error:
            raise CommandError(f"--max-memory: {error}") from error
        try:
            worker = Worker(
                layer,
                router,
                threads=options["threads"],
                async_tasks=options["async_tasks"],
                streams=options["streams"],
                instances=options["instances"],
                idle_seconds=options["idle_minutes"] * 60,
                only_channels=[*options["channels"], *options["only_channels"]],
                exclude_channels=options["exclude_channels"],
                hooks=project_hooks(),
                grace=options["grace"],
                consumer_timeout=options["consumer_timeout"],
                wear=wear,
                watchdog=watchdog,
                on_message=log_message if options["verbosity"] > 1 else None,
                sync_side=SyncThreads(options["threads"]),
                parent=supervisor_pid(),
            )
        except ValueError as error:  # the globs leave nothing to listen on
            raise CommandError(str(error)) from error
        logger.info(
            "Worker on channel layer %r: %s; it listens on %s",
            layer.alias,
            layer.describe(),
            ", ".join(worker.channels),
        )
        others = sorted(set(router.channels) - set(worker.channels))
        if others:
            logger.info("it does not listen on %s, which other workers have to", ", ".join(others))
        exit_with_parent(worker.stop)
        done = threading.Event()
        if threading.current_thread() is not threading.main_thread():
            # With --autoreload this is a daemon thread: the process ends around it unless it is waited for.
            atexit.register(_stop, worker, done)
        try:
            with served(options["metrics"], answers_of_worker(worker, layer)):
                ended_well = worker.run()
        except StartupFailed as error:
            raise CommandError(str(error)) from error
        finally:
            done.set()
        watchdog.ended(worker)
        return REPLACE if worker.replaced_for is not None else int(not ended_well)


def _stop(worker: Worker, done: threading.Event) -> None:
    worker.stop()
    done.wait(worker.grace + RELOAD_GRACE)


def listen_on(channels: Sequence[str], router: Router) -> None:
    """See that channels have consumers; raises `CommandError` for one that has none."""
    application = hosted_application("channel")
    takes_all = application is not None and background_channels(application) is None
    for channel in channels:
        if channel in router.channels:
            continue
        if not takes_all:
            known = ", ".join(sorted(router.channels))
            raise CommandError(f"nothing is routed to channel {channel!r}; there are consumers for {known}")
        assert application is not None
        router.add_route(Route(channel, BackgroundConsumer(application, channel)))


def child_command(options: dict[str, Any]) -> list[str]:
    """The command line of one worker process."""
    own = autoreload.get_child_arguments()
    command = [*own[: len(own) - len(sys.argv[1:])], "runworker", *options["channels"]]
    command += ["--layer", options["layer"], "--threads", str(options["threads"])]
    command += ["--async-tasks", str(options["async_tasks"]), "--streams", str(options["streams"])]
    command += ["--instances", str(options["instances"]), "--idle-minutes", format(options["idle_minutes"], "g")]
    command += ["--grace", format(options["grace"], "g")]
    for name in LIMITS:
        if options[name] is not None:
            command += [f"--{name.replace('_', '-')}", str(options[name])]
    for name in ("only_channels", "exclude_channels"):
        for glob in options[name]:
            command.append(f"--{name.replace('_', '-')}={glob}")
    for name in ("settings", "pythonpath"):
        if options.get(name):
            command.append(f"--{name}={options[name]}")
    command += ["--verbosity", str(options["verbosity"]), "--log-format", options["log_format"]]
    command += [f"--{name.replace('_', '-')}" for name in ("no_color", "force_color", "traceback") if options.get(name)]
    return command
