"""``manage.py millrace groups``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from tests.channels.operations.layers import away, bare, on_draft, on_sqlite, printed


def test_the_largest_groups_come_first_and_the_rest_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers, layer = on_sqlite(tmp_path)
    assert printed(layers, capsys, "groups") == "there are no groups\n"
    for group, size in {"small": 1, "large": 3, "middle": 2}.items():
        for n in range(size):
            layer.group_add(group, f"process!{n}")
    layer.close()
    rows = [line.split() for line in printed(layers, capsys, "groups").splitlines()]
    assert rows == [["group", "members"], ["large", "3"], ["middle", "2"], ["small", "1"]]
    lines = printed(layers, capsys, "groups", "--limit", "1").splitlines()
    assert lines[1:] == ["large  3", "and 2 smaller groups; --limit shows more"]
    found = json.loads(printed(layers, capsys, "groups", "--json", "--limit", "2"))
    assert found == {"total": 3, "groups": [{"group": "large", "members": 3}, {"group": "middle", "members": 2}]}


def test_the_members_of_a_group_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers, layer = on_sqlite(tmp_path)
    for n in range(3):
        layer.group_add("team", f"process!{n}")
    layer.close()
    assert printed(layers, capsys, "groups", "team").splitlines() == [
        "team has 3 members", "process!0", "process!1", "process!2",
    ]  # fmt: skip
    lines = printed(layers, capsys, "groups", "team", "--limit", "1").splitlines()
    assert (lines[0], lines[2]) == ("team has 3 members", "and 2 more; --limit shows more")
    assert json.loads(printed(layers, capsys, "groups", "nobody", "--json")) == {
        "group": "nobody", "total": 0, "members": [],
    }  # fmt: skip


def test_a_layer_that_cannot_list_groups_says_so_and_may_know_the_members_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers, draft = on_draft(tmp_path)
    draft.group_add("team", "plain")
    with pytest.raises(CommandError, match="cannot list its groups") as caught:
        printed(layers, capsys, "groups")
    assert caught.value.returncode == 1
    assert printed(layers, capsys, "groups", "team").splitlines() == ["team has 1 member", "plain"]


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [(["no group"], "invalid group name 'no group'", 2), (["--limit", "0"], "'0' is not a whole number", 1)],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str, status: int
) -> None:
    with pytest.raises(CommandError, match=words) as caught:
        printed(bare(tmp_path), capsys, "groups", *arguments)
    assert caught.value.returncode == status


def test_a_layer_that_is_away_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    layers: dict[str, Any] = away()
    with pytest.raises(CommandError, match="unavailable") as caught:
        printed(layers, capsys, "groups")
    assert caught.value.returncode == 3
