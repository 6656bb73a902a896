"""The command line of ``daphne``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from interface_server.cli import main

__all__ = ["CommandLineInterface"]


class CommandLineInterface:
    """The command, as code calls it."""

    @classmethod
    def entrypoint(cls) -> None:
        """Do what the process's command line says."""
        cls().run(sys.argv[1:])

    def run(self, args: Sequence[str]) -> None:
        """Do what these arguments say; raises `SystemExit` at the end."""
        main(list(args), prog_name="daphne")
