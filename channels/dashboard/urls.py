"""URLs of the dashboard, to be included in those of a project."""

from __future__ import annotations

from django.urls import path

from . import views

app_name = "millrace"

urlpatterns = [
    path("", views.page, name="dashboard"),
    path("snapshot/", views.snapshot, name="snapshot"),
    path("events/", views.events, name="events"),
]
