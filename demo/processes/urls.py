"""URLs of the processes."""

from __future__ import annotations

from django.urls import path

from demo.processes.views import restart_process

urlpatterns = [path("<slug:name>/restart/", restart_process, name="restart-process")]
