"""The application's entry in ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig


class DocumentsConfig(AppConfig):
    """Documents, and who is at them."""

    name = "demo.documents"
    verbose_name = "Documents"

    def ready(self) -> None:
        """Have the bindings and the signal receiver in every process: changes may be made in any of them."""
        from demo.documents import bindings, signing_out  # noqa: F401
