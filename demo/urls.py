"""URLs of the demonstration project."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from demo.views import start

urlpatterns = [
    path("", start, name="start"),
    path("chat/", include("demo.chat.urls")),
    path("prices/", include("demo.prices.urls")),
    path("documents/", include("demo.documents.urls")),
    path("whiteboard/", include("demo.whiteboard.urls")),
    path("processes/", include("demo.processes.urls")),
    path("sign-in/", LoginView.as_view(template_name="sign_in.html"), name="sign-in"),
    path("sign-out/", LogoutView.as_view(), name="sign-out"),
    path("millrace/", include("channels.dashboard.urls")),
    path("admin/", admin.site.urls),
]
