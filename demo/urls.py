"""URLs of the demonstration project."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from demo.views import start

urlpatterns = [
    path("", start, name="start"),
    path("chat/", include("demo.chat.urls")),
    path("admin/", admin.site.urls),
]
