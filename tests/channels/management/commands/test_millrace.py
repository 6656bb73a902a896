"""``manage.py millrace``: what its subcommands share. Each has tests of its own where its code is."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command, load_command_class

from channels.management.commands.millrace import SUBCOMMANDS


def test_help_describes_every_subcommand() -> None:
    output = io.StringIO()
    load_command_class("channels", "millrace").create_parser("manage.py", "millrace").print_help(output)
    words = output.getvalue().split()
    assert [name for name in SUBCOMMANDS if name not in words] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [([], "the following arguments are required: SUBCOMMAND"), (["fly"], "invalid choice: 'fly'")],
)
def test_what_is_no_subcommand_gets_a_sentence(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        call_command("millrace", *arguments)
