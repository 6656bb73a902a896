"""`channels.models`: the check that stays when another distribution lies over ours; see also test_packaging.py."""

from __future__ import annotations

import pytest
from django.core.checks import run_checks

from channel_layer.exceptions import LayerConfigurationError
from channels import models


def test_all_is_well_here() -> None:
    assert models.check_imports() == []


def test_a_package_that_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden() -> None:
        raise LayerConfigurationError("/project/routing.py hides the package 'routing'")

    monkeypatch.setattr(models, "check_installation", hidden)
    assert [f"{message.id} {message.msg}" for message in run_checks(tags=[models.TAG])] == [
        "channels.E004 /project/routing.py hides the package 'routing'"
    ]
