"""URLs of the whiteboard."""

from __future__ import annotations

from django.urls import path

from demo.whiteboard import views

urlpatterns = [
    path("", views.first, name="whiteboard"),
    path("<slug:slug>/", views.board, name="board"),
    path("<slug:slug>/strokes/", views.strokes, name="strokes"),
]
