"""What the button asks for."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from demo.processes.control import NAMES, may_control, restart


@require_POST
def restart_process(request: HttpRequest, name: str) -> HttpResponse:
    """Have one process restarted, for somebody in front of this machine."""
    if name not in NAMES or not may_control(request):
        raise Http404("There is no such process to restart from here.")
    answer = restart(name)
    return redirect("start") if answer == "ok" else HttpResponse(answer, status=503, content_type="text/plain")
