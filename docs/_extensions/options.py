"""Lists of options, made from the programs that have them.

``daphne-options``, ``server-options`` and ``django-options NAME`` in a page become definition lists of the options of
``daphne``, of an interface server, and of a management command.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any

import click
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

VALUES = {
    click.types.StringParamType: "TEXT",
    click.types.IntParamType: "NUMBER",
    click.types.IntRange: "NUMBER",
    click.types.FloatParamType: "NUMBER",
}

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


def _value(kind: click.ParamType) -> str:
    return "|".join(kind.choices) if isinstance(kind, click.Choice) else VALUES[type(kind)]


class DaphneOptions(OptionList):
    """The options of ``daphne``, with defaults."""

    def options_of(self) -> Iterator[tuple[str, str]]:
        """As its ``--help`` says, with types that say no more than they need to."""
        from interface_server.cli import main

        for parameter in main.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                value = "" if parameter.is_flag else f" {_value(parameter.type)}"
                default = f" [default: {parameter.default}]" if parameter.show_default else ""
                yield ", ".join(parameter.opts) + value, " ".join(((parameter.help or "") + default).split())


class ServerOptions(OptionList):
    """The fields of ``interface_server.options.Options``, with defaults."""

    def options_of(self) -> Iterator[tuple[str, str]]:
        """As its docstring says."""
        from interface_server.options import Options

        attributes = (inspect.getdoc(Options) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
        meanings = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", attributes, re.MULTILINE)
        assert [name for name, _ in meanings] == [field.name for field in dataclasses.fields(Options)]
        for field, (name, meaning) in zip(dataclasses.fields(Options), meanings, strict=True):
            yield f"{name} = {field.default!r}", " ".join(meaning.replace("``", "").split())


class DjangoOptions(OptionList):
    """The options of a management command or its subcommand, without those that every command has."""

    required_arguments = 1
    optional_arguments = 1

    def options_of(self) -> Iterator[tuple[str, str]]:
        """As its ``--help`` says."""
        from django.core.management import get_commands, load_command_class

        name = self.arguments[0]
        application: Any = get_commands()[name]
        parser: argparse.ArgumentParser = load_command_class(application, name).create_parser("manage.py", name)
        for subcommand in self.arguments[1:]:
            (choices,) = (action.choices for action in parser._actions if action.dest == "subcommand")
            parser = choices[subcommand]
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
    app.add_directive("daphne-options", DaphneOptions)
    app.add_directive("server-options", ServerOptions)
    app.add_directive("django-options", DjangoOptions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
