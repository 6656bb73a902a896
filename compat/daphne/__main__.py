"""``python -m daphne``."""

from daphne.cli import CommandLineInterface

CommandLineInterface.entrypoint()
