"""Consent to what cannot be undone."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from .reaching import USAGE


def add_consent_option(parser: CommandParser) -> None:
    """Declare ``--yes``."""
    parser.add_argument("--yes", action="store_true", help="do it without asking first")


def consents(command: BaseCommand, options: dict[str, Any], question: str) -> bool:
    """Ask whether to do something, unless that was said beforehand.

    Raises:
        CommandError: there is nobody to ask.
    """
    if options["yes"]:
        return True
    if options["json"] or not sys.stdin.isatty():
        raise CommandError(f"{question} There is no terminal to ask at; say it beforehand with --yes", returncode=USAGE)
    command.stderr.write(f"{question} [y/N] ", ending="")
    command.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
