"""Views of the test project."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.views.decorators.csrf import csrf_exempt

from channels.exceptions import ResponseLater

events: list[str] = []


def reading_middleware(get_response: Any) -> Any:
    """Middleware that looks at the body before any view does."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path == "/reads_in_middleware/":
            _ = request.body
        return get_response(request)  # type: ignore[no-any-return]

    return middleware


def hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse("Hello, World")


@csrf_exempt
def describe(request: HttpRequest) -> JsonResponse:
    return JsonResponse(
        {
            "method": request.method,
            "path": request.path,
            "path_info": request.path_info,
            "full": request.get_full_path(),
            "uri": request.build_absolute_uri(),
            "secure": request.is_secure(),
            "get": {key: request.GET.getlist(key) for key in request.GET},
            "cookies": request.COOKIES,
            "meta": {key: value for key, value in request.META.items() if isinstance(value, (str, int))},
        }
    )


@csrf_exempt
def form(request: HttpRequest) -> JsonResponse:
    files = {
        name: [
            {"name": file.name, "size": file.size, "type": file.content_type, "kind": type(file).__name__,
             "sha": hashlib.sha256(file.read()).hexdigest()}
            for file in request.FILES.getlist(name)
        ]
        for name in request.FILES
    }  # fmt: skip
    return JsonResponse({"post": {key: request.POST.getlist(key) for key in request.POST}, "files": files})


@csrf_exempt
def body(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"size": len(request.body), "sha": hashlib.sha256(request.body).hexdigest()})


@csrf_exempt
def read_in_parts(request: HttpRequest) -> JsonResponse:
    digest = hashlib.sha256()
    parts = 0
    while part := request.read(64 * 1024):
        digest.update(part)
        parts += 1
    return JsonResponse({"parts": parts, "sha": digest.hexdigest()})


def protected(request: HttpRequest) -> HttpResponse:
    return HttpResponse("never reached by a stranger's POST")


@csrf_exempt
def ignores_its_body(request: HttpRequest) -> HttpResponse:
    return HttpResponse("not looked at")


def count(request: HttpRequest) -> HttpResponse:
    request.session["count"] = request.session.get("count", 0) + 1
    return HttpResponse(str(request.session["count"]))


def cookies(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("two")
    response.set_cookie("first", "1", httponly=True)
    response.set_cookie("second", "a b")
    return response


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Any:
        try:
            for number in range(3):
                yield f"part {number}\n"
        finally:
            events.append("stream closed")

    return StreamingHttpResponse(parts(), content_type="text/plain")


def empty_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter(()))


def failing_stream(request: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Any:
        yield b"good so far"
        raise RuntimeError("the source broke")

    return StreamingHttpResponse(parts())


def unstarted_stream(request: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Any:
        raise RuntimeError("never began")
        yield

    return StreamingHttpResponse(parts())


def endless(request: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Any:
        try:
            while True:
                yield b"x" * 262_144
        finally:
            events.append("endless closed")

    return StreamingHttpResponse(parts())


def big(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"0123456789" * 131_072, content_type="application/octet-stream")


def file(request: HttpRequest) -> FileResponse:
    content = io.BytesIO(b"abcdefgh" * 200_000)
    return FileResponse(content, as_attachment=True, filename="letters.txt")


def move(request: HttpRequest) -> HttpResponse:
    return redirect("/elsewhere/")


def missing(request: HttpRequest) -> HttpResponse:
    raise Http404("no such thing")


def forbidden(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("the view broke")


def later(request: HttpRequest) -> HttpResponse:
    raise ResponseLater


def no_content(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=204)


async def asynchronous(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return HttpResponse("from a coroutine")


async def asynchronous_stream(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        event = asyncio.Event()
        asyncio.get_running_loop().call_soon(event.set)
        try:
            for number in range(3):
                await event.wait()  # bound to the loop of the first step: all steps need the same
                yield f"tick {number}\n"
        finally:
            events.append("async stream closed")

    return StreamingHttpResponse(parts())


def bad_header(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("x")
    response["X-Injected"] = "a\r\nSet-Cookie: x=1"
    return response
