"""`channels.apps`: the Django application."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.apps import apps
from django.core.management import get_commands

from channels.apps import ChannelsConfig

PROGRAM = """
import django
from django.conf import settings
from django.core.management import get_commands

settings.configure(INSTALLED_APPS={applications!r})
django.setup()
print(get_commands()["runserver"])
"""


def runserver_of(*applications: str) -> str:
    """Which application's ``runserver`` a project gets."""
    program = PROGRAM.format(applications=list(applications))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_naming_the_package_installs_it() -> None:
    config = apps.get_app_config("channels")
    assert isinstance(config, ChannelsConfig)
    assert config.name == "channels"


def test_it_brings_runworker() -> None:
    assert get_commands()["runworker"] == "channels"


@pytest.mark.parametrize(
    ("applications", "expected"),
    [
        (["channels"], "channels"),
        (["channels", "django.contrib.staticfiles"], "channels"),
        (["django.contrib.staticfiles", "channels"], "channels"),
        (["tests.channels.with_runserver", "channels"], "tests.channels.with_runserver"),
    ],
)
def test_runserver_is_its_own_unless_the_project_has_another_before_it(applications: list[str], expected: str) -> None:
    assert runserver_of(*applications) == expected
