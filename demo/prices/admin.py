"""Prices in Django's admin."""

from __future__ import annotations

from django.contrib import admin

from demo.prices.models import Price


@admin.register(Price)
class PriceAdmin(admin.ModelAdmin):
    """Prices, newest first."""

    list_display = ["coin", "second", "value"]
    list_filter = ["coin"]
    ordering = ["-second"]
