"""URLs of the dashboard, to be included in those of a project."""

from __future__ import annotations

from django.urls import path

from . import connections, views

app_name = "millrace"

urlpatterns = [
    path("", views.page, name="dashboard"),
    path("events/", views.events, name="events"),
    path("connections/", connections.page, name="connections"),
    path("connections/found/", connections.found, name="found"),
    path("connections/close/", connections.close, name="close"),
    path("connection/", connections.one, name="connection"),
    path("connection/now/", connections.now, name="now"),
]
