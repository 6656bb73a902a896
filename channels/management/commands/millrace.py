"""``manage.py millrace …``: what operators ask and do, one subcommand each."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

SUBCOMMANDS = {
    "channel": "channels.operations.channel",
    "close": "channels.operations.close",
    "connection": "channels.operations.connection",
    "connections": "channels.operations.connections",
    "drain": "channels.operations.drain",
    "flush": "channels.operations.flush",
    "groups": "channels.operations.groups",
    "health": "channels.operations.health",
    "send": "channels.operations.send",
    "status": "channels.operations.status",
    "tail": "channels.operations.tail",
    "top": "channels.operations.top",
    "verify": "channels.verification.command",
}
"""Subcommand → module with its ``HELP``, ``add_arguments(parser)`` and ``handle(command, options)``."""


class Command(BaseCommand):
    """The command."""

    help = "Operate web servers and workers. `manage.py millrace SUBCOMMAND --help` describes each subcommand."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the subcommands with their options."""
        subparsers = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=True)
        for name, path in SUBCOMMANDS.items():
            module = import_module(path)
            subparser = subparsers.add_parser(name, help=module.HELP, description=module.HELP)
            module.add_arguments(subparser)

    def handle(self, *args: object, **options: Any) -> None:
        """Do what the subcommand says."""
        import_module(SUBCOMMANDS[options["subcommand"]]).handle(self, options)
