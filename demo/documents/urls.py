"""URLs of the documents."""

from __future__ import annotations

from django.urls import path

from demo.documents import views

urlpatterns = [
    path("", views.documents, name="documents"),
    path("<int:pk>/", views.document, name="document"),
]
