"""``manage.py millrace groups``."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from channel_layer.inspection import INSPECTION, GroupMembers
from channel_layer.layer import ChannelLayer

from ..management.working import add_layer_option
from .arguments import at_least_one
from .reaching import need, reached
from .tables import plural, write_table

HELP = "Lists the groups with the number of their members, the largest first, or the members of one group."

GROUPS = ("group", "members")


def add_arguments(parser: CommandParser) -> None:
    """Declare the options."""
    parser.add_argument("group", nargs="?", metavar="NAME", help="list the members of this group")
    parser.add_argument(
        "--limit",
        type=at_least_one,
        default=100,
        metavar="N",
        help="list at most so many groups or members (default: %(default)s)",
    )
    add_layer_option(parser)
    parser.add_argument("--json", action="store_true", help="print an object for machines")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Look and print."""
    with reached(options["layer"]) as (layer, _):
        if options["group"] is None:
            need(layer, INSPECTION, "list its groups")
            _show_groups(command, layer, options)
        else:
            _show_members(command, layer, options)


def _show_groups(command: BaseCommand, layer: ChannelLayer, options: dict[str, Any]) -> None:
    total, largest = layer.group_sizes(options["limit"])
    if options["json"]:
        groups = [{"group": group, "members": size} for group, size in largest]
        command.stdout.write(json.dumps({"total": total, "groups": groups}))
        return
    if not total:
        command.stdout.write("there are no groups")
        return
    write_table(command, GROUPS, [(group, str(size)) for group, size in largest])
    if total > len(largest):
        command.stdout.write(f"and {plural(total - len(largest), 'smaller group')}; --limit shows more")


def _show_members(command: BaseCommand, layer: ChannelLayer, options: dict[str, Any]) -> None:
    group = options["group"]
    total, members = _members(layer, group, options["limit"])
    if options["json"]:
        command.stdout.write(json.dumps({"group": group, "total": total, "members": members}))
        return
    command.stdout.write(command.style.MIGRATE_HEADING(f"{group} has {plural(total, 'member')}"))
    for member in members:
        command.stdout.write(member)
    if total > len(members):
        command.stdout.write(f"and {total - len(members)} more; --limit shows more")


def _members(layer: ChannelLayer, group: str, limit: int) -> GroupMembers:
    if INSPECTION in layer.extensions:
        total, members = layer.group_members(group, limit)
    else:
        need(layer, "groups", "tell who is in a group")
        everybody = layer.group_channels(group)
        total, members = len(everybody), everybody[:limit]
    return GroupMembers(total, sorted(members))
