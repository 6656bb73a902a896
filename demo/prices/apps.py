"""The application's entry in ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig


class PricesConfig(AppConfig):
    """Prices of two coins."""

    name = "demo.prices"
    verbose_name = "Prices"
