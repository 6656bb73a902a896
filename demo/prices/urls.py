"""URLs of the prices."""

from __future__ import annotations

from django.urls import path

from demo.prices import views

urlpatterns = [
    path("", views.first, name="prices"),
    path("<slug:coin>/", views.prices, name="coin"),
]
