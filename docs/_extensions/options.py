"""Lists of options, made from the programs that have them.

``daphne-options`` and ``django-options NAME`` in a page become definition lists of the options of ``daphne`` and
of a management command.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

import click
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.util.docutils import SphinxDirective

DJANGO = {"version", "settings", "pythonpath", "traceback", "no_color", "force_color", "verbosity", "help"}
"""Options that every management command has."""


class OptionList(SphinxDirective):
    """Base class: a definition list of what `options_of` gives."""

    has_content = False

    def options_of(self) -> Iterable[tuple[str, str]]:
        """Pairs of an option as it is written and what it does."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """The nodes in place of the directive."""
        items = nodes.definition_list()
        for written, meaning in self.options_of():
            term = nodes.term("", "", nodes.literal("", written))
            items += nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph(text=meaning)))
        return [items]


class DaphneOptions(OptionList):
    """The options of ``daphne``, with defaults."""

    def options_of(self) -> Iterator[tuple[str, str]]:
        """As its ``--help`` says."""
        from interface_server.cli import main

        with click.Context(main, info_name="daphne") as context:
            for parameter in main.get_params(context):
                record = parameter.get_help_record(context)
                if record is not None:
                    yield record[0], " ".join(record[1].split())


class DjangoOptions(OptionList):
    """The options of a management command, without those that every command has."""

    required_arguments = 1

    def options_of(self) -> Iterator[tuple[str, str]]:
        """As its ``--help`` says."""
        from django.core.management import get_commands, load_command_class

        name = self.arguments[0]
        application: Any = get_commands()[name]
        parser = load_command_class(application, name).create_parser("manage.py", name)
        for action in parser._actions:
            if action.dest not in DJANGO and action.help is not argparse.SUPPRESS:
                yield _written(action), _meaning(action, parser.prog)


def _written(action: argparse.Action) -> str:
    if not action.option_strings:
        return str(action.metavar or action.dest)
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return ", ".join(action.option_strings) + value


def _meaning(action: argparse.Action, program: str) -> str:
    values = {**vars(action), "prog": program}
    text = " ".join(((action.help or "") % values).split())
    return text[:1].upper() + text[1:]


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry point."""
    directives: dict[str, type[Directive]] = {"daphne-options": DaphneOptions, "django-options": DjangoOptions}
    for name, directive in directives.items():
        app.add_directive(name, directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
