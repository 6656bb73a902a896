"""The application ``channels.delay``."""

from __future__ import annotations

from channels.delay.apps import DelayConfig


def test_its_label_is_an_identifier() -> None:
    assert DelayConfig.label.isidentifier()


def test_its_keys_do_not_depend_on_the_projects_settings() -> None:
    assert DelayConfig.default_auto_field == "django.db.models.BigAutoField"
