"""The processes of a live test, as seen from the test."""

from __future__ import annotations

import pickle
import subprocess
import sys

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from channel_layer.exceptions import clause
from channels.runtime.django_internals import settings_holder

from .live_child import READY
from .live_parts import STOP_SECONDS

_START = """
import pickle, sys
plan = pickle.load(sys.stdin.buffer)
sys.path[:] = plan["path"]
from channels.test.live_child import main
main(plan, sys.stdin.buffer)
"""
"""The program of a process. It takes the path first, for this package may be found there only."""

_OF_THE_TEST_ENVIRONMENT = ("ALLOWED_HOSTS", "DEBUG", "MAILERS", "EMAIL_BACKEND")
"""Settings that a test run sets directly. A project with MAILERS (Django 6.1) has no EMAIL_BACKEND."""


class Process:
    """One process that is part of a live test.

    It is a new interpreter and not a fork, which would take over connections, locks and threads of the
    test's process. It gets the test's settings, overridden ones included, and its databases.

    Args:
        plan: the part of the process and its arguments; see `channels.test.live_child`.

    Raises:
        ImproperlyConfigured: a setting cannot be passed on.
    """

    def __init__(self, **plan: object) -> None:
        self._name = plan["part"]
        plan |= _environment()
        self._process = subprocess.Popen(
            [sys.executable, *(f"-W{option}" for option in sys.warnoptions), "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            self._tell(plan)
        except BaseException:
            self.stop()
            raise

    def wait_until_ready(self) -> int:
        """Block until the process does its work, or has failed to.

        Returns:
            The port it listens on, 0 for a worker.

        Raises:
            RuntimeError: it has ended; its standard error says why.
        """
        assert self._process.stdout is not None
        word, _, port = self._process.stdout.readline().decode().partition(" ")
        if word != READY:
            raise RuntimeError(f"the {self._name} of the live test did not start; the reason is in its output above")
        return int(port)

    def hang_up(self) -> None:
        """Tell the process to stop, without waiting."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it is gone already

    def stop(self) -> None:
        """Tell the process to stop and wait; one that does not stop in time is killed."""
        assert self._process.stdout is not None
        self.hang_up()
        try:
            self._process.wait(STOP_SECONDS * 2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _tell(self, plan: dict[str, object]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(pickle.dumps(plan))
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended at once, which is noticed when it is waited for


def _environment() -> dict[str, object]:
    """Describe the test's environment to a process: path, settings and databases."""
    values, module = _settings()
    values["DATABASES"] = {alias: connections[alias].settings_dict for alias in connections}
    layers = {"CHANNEL_LAYERS": values.pop("CHANNEL_LAYERS", settings.CHANNEL_LAYERS)}
    return {
        "path": sys.path,
        "settings_module": module,
        "settings": _pickled(values, whole=True),
        "channel_layers": _pickled(layers, whole=False),
    }


def _settings() -> tuple[dict[str, object], str | None]:
    """Return the settings that differ from the settings module, and the name of that module."""
    values: dict[str, object] = {}
    holder = wrapped = settings_holder()
    while "default_settings" in vars(holder):  # one for each override, the innermost first
        values = {name: value for name, value in vars(holder).items() if name.isupper()} | values
        holder = holder.default_settings
    for name in _OF_THE_TEST_ENVIRONMENT:
        # Not asked of the settings themselves, which warn of what is deprecated: the project was warned already.
        if hasattr(wrapped, name) and not (name == "EMAIL_BACKEND" and "MAILERS" in values):
            values.setdefault(name, getattr(wrapped, name))
    # At the bottom lie the settings of a module, or the defaults if they were configured without one.
    return values, getattr(holder, "SETTINGS_MODULE", None)


def _pickled(values: dict[str, object], whole: bool) -> bytes:
    for name, value in values.items():
        try:
            pickle.dumps(value)
        except Exception as error:
            raise ImproperlyConfigured(
                f"the setting {name} cannot be passed to the processes of a live test: {clause(error)}. Leave out what "
                "exists only in the test's process, or use the memory layer, which runs a live test in threads."
            ) from error
    return pickle.dumps(values if whole else next(iter(values.values())))
