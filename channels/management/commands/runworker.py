"""``manage.py runworker``: take messages off a channel layer and run their consumers."""

from __future__ import annotations

import logging
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.autoreload import get_child_arguments

from channels import log
from channels.configured_layers import ChannelLayerWrapper
from channels.management.working import add_layer_option, log_message, open_layer, reach, route_with
from channels.runtime.hooks import DjangoHook
from channels.runtime.sync_threads import SyncThreads
from channels.staticfiles import http_consumer
from routing import Router
from workers import Supervisor, Worker
from workers.instances import INSTANCES
from workers.lifespan import StartupFailed
from workers.streams import STREAMS
from workers.supervisor import exit_with_parent
from workers.worker import ASYNC_TASKS, IDLE_SECONDS

logger = logging.getLogger("channels.runworker")

DEFAULT_THREADS = 4
DEFAULT_GRACE = 30.0


class Command(BaseCommand):
    """The command."""

    help = "Runs consumers: takes messages off a channel layer until it is told to stop (SIGTERM or Ctrl-C)."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
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

    def handle(self, *args: object, **options: Any) -> None:
        """Run until stopped."""
        for name in ("threads", "async_tasks", "streams", "instances", "processes"):
            if options[name] < 1:
                raise CommandError(f"--{name.replace('_', '-')} must be 1 or more, not {options[name]}")
        for name, unit in (("grace", "seconds"), ("idle_minutes", "minutes")):
            if not options[name] > 0:
                raise CommandError(f"--{name.replace('_', '-')} must be more than 0 {unit}, not {options[name]:g}")
        log.set_up(options["verbosity"], log_format=options["log_format"])
        layer = open_layer(options["layer"])
        if layer.local_only:
            raise CommandError(
                f"channel layer {layer.alias!r} ({layer.describe()}) reaches no further than one process, so a worker "
                "of its own would never get a message. Use the sqlite or redis layer, or manage.py runserver."
            )
        try:
            router = route_with(layer, http_consumer())
            reach(layer)
            if options["processes"] == 1:
                ended_well = self._work(layer, router, options)
        finally:
            # Puts back what a waiting pop took. Processes make connections of their own.
            layer.close()
        if options["processes"] > 1:
            sys.exit(Supervisor(child_command(options), options["processes"], options["grace"]).run())
        if not ended_well:
            sys.exit(1)

    def _work(self, layer: ChannelLayerWrapper, router: Router, options: dict[str, Any]) -> bool:
        try:
            worker = Worker(
                layer,
                router,
                threads=options["threads"],
                async_tasks=options["async_tasks"],
                streams=options["streams"],
                instances=options["instances"],
                idle_seconds=options["idle_minutes"] * 60,
                only_channels=options["only_channels"],
                exclude_channels=options["exclude_channels"],
                hooks=[DjangoHook()],
                grace=options["grace"],
                on_message=log_message if options["verbosity"] > 1 else None,
                sync_side=SyncThreads(options["threads"]),
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
        try:
            return worker.run()
        except StartupFailed as error:
            raise CommandError(str(error)) from error


def child_command(options: dict[str, Any]) -> list[str]:
    """The command line of one worker process."""
    own = get_child_arguments()
    command = [*own[: len(own) - len(sys.argv[1:])], "runworker"]
    command += ["--layer", options["layer"], "--threads", str(options["threads"])]
    command += ["--async-tasks", str(options["async_tasks"]), "--streams", str(options["streams"])]
    command += ["--instances", str(options["instances"]), "--idle-minutes", format(options["idle_minutes"], "g")]
    command += ["--grace", format(options["grace"], "g")]
    for name in ("only_channels", "exclude_channels"):
        for glob in options[name]:
            command.append(f"--{name.replace('_', '-')}={glob}")
    for name in ("settings", "pythonpath"):
        if options.get(name):
            command.append(f"--{name}={options[name]}")
    command += ["--verbosity", str(options["verbosity"]), "--log-format", options["log_format"]]
    command += [f"--{name.replace('_', '-')}" for name in ("no_color", "force_color", "traceback") if options.get(name)]
    return command
