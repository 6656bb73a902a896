"""`channels.runtime.django_internals`: fails, and names the versions, when Django or asgiref have changed inside."""

from __future__ import annotations

import ast
import asyncio
import io
import multiprocessing
import re
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, ContextVar
from importlib.metadata import version
from threading import current_thread
from typing import Any, ClassVar

import django
import pytest
from asgiref.local import Local
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.signals import request_finished
from django.dispatch import Signal
from django.http import HttpResponse, QueryDict, StreamingHttpResponse
from django.test import override_settings
from django.urls import path as url
from django.urls import re_path
from django.utils.functional import LazyObject
from django.utils.log import log_response

from channels.runtime import django_internals as internals
from tests.test_house import ROOMS, ROOT

VERSIONS = f"with Django {django.get_version()} and asgiref {version('asgiref')}"


def receiver(**kwargs: Any) -> None: ...


def test_receivers_are_known_by_their_keys() -> None:
    signal = Signal()
    assert internals.receiver_keys(signal) == [], VERSIONS
    assert not internals.has_only_receiver(signal, "ours"), VERSIONS
    signal.connect(receiver, dispatch_uid="ours")
    assert internals.receiver_keys(signal) == ["ours"], VERSIONS
    assert internals.has_only_receiver(signal, "ours"), VERSIONS
    assert not internals.has_only_receiver(signal, "theirs"), VERSIONS
    signal.connect(receiver)
    assert internals.receiver_keys(signal) == ["ours", id(receiver)], VERSIONS
    assert not internals.has_only_receiver(signal, "ours"), VERSIONS


class Failing(io.BytesIO):
    """Closes, and then fails."""

    def close(self) -> None:
        super().close()
        raise OSError("cannot be closed")


def test_what_belongs_to_a_response_is_closed_with_it_or_with_its_replacement() -> None:
    failing, replaced, calls = Failing(), HttpResponse(), []
    internals.close_with(replaced, failing.close)
    internals.close_with(replaced, lambda: calls.append("after the one that failed"))
    response = HttpResponse()
    internals.hand_over_resources(replaced, response)
    internals.close_resources(response)
    assert (failing.closed, calls, response.closed) == (True, ["after the one that failed"], True), VERSIONS
    response.close()
    assert len(calls) == 1, VERSIONS
    replaced.close()  # Django's own way finds what `close_with` has added
    assert len(calls) == 2, VERSIONS


@pytest.mark.parametrize("key", ["chn0123456789", None])
def test_a_session_gets_a_key(key: str | None) -> None:
    session = SessionStore("another-key")
    internals.give_key(session, key)
    assert session.session_key == key, VERSIONS


def test_sync_code_runs_on_the_executor_of_its_context() -> None:
    async def run() -> list[str]:
        context = ThreadSensitiveContext()
        internals.run_in(executor, context)
        return [await sync_to_async(thread_name_here)() for _ in range(2)]

    with ThreadPoolExecutor(1, "chosen") as executor:
        assert asyncio.run(run()) == ["chosen_0"] * 2, VERSIONS


def test_it_is_known_whether_sync_code_runs_on_an_executor() -> None:
    async def run() -> list[bool]:
        found = [internals.runs_in(executor)]
        async with ThreadSensitiveContext() as theirs:
            await sync_to_async(thread_name_here)()
            found += [internals.runs_in(executor), internals.runs_in(None)]
            internals.run_in(executor, theirs)
            found += [internals.runs_in(executor), internals.runs_in(other)]
        return [*found, internals.runs_in(executor)]

    with ThreadPoolExecutor(1) as executor, ThreadPoolExecutor(1) as other:
        assert asyncio.run(run()) == [False, False, False, True, False, False], VERSIONS


def test_a_prepared_thread_runs_coroutines_on_its_loop_and_tells_of_the_task_that_it_waits_for() -> None:
    async def run() -> tuple[object, ...]:
        loop, tasks = asyncio.get_running_loop(), list[asyncio.Task[Any]]()

        async def ask() -> tuple[bool, bool]:
            return asyncio.get_running_loop() is loop, tasks == [asyncio.current_task()]

        def work() -> tuple[object, ...]:
            internals.prepare_thread(loop, tasks)
            return async_to_sync(ask)(), tasks

        return await loop.run_in_executor(executor, work)

    with ThreadPoolExecutor(1) as executor:
        assert asyncio.run(run()) == ((True, True), []), VERSIONS


def test_a_context_with_values_of_a_local_that_another_thread_does_not_see_is_known() -> None:
    variable, local, of_thread = ContextVar("variable", default=0), Local(), Local(thread_critical=True)
    context = Context()
    context.run(variable.set, 1)
    context.run(setattr, of_thread, "value", 1)
    assert not internals.has_locals(context), VERSIONS
    context.run(setattr, local, "value", 1)
    with ThreadPoolExecutor(1) as executor:
        is_seen = executor.submit(context.run, hasattr, local, "value").result(20)  # as it is before asgiref 3.12
    assert is_seen or internals.has_locals(context), VERSIONS


def test_what_is_set_in_a_context_of_another_thread_is_adopted() -> None:
    variable, kept, local = ContextVar("variable", default=0), ContextVar("kept", default=0), Local()
    theirs = Context()

    def fill() -> None:
        variable.set(1)
        local.value = [1]

    def look() -> tuple[object, ...]:
        kept.set(2)
        internals.adopt_context(theirs)
        return variable.get(), kept.get(), local.value

    with ThreadPoolExecutor(1) as executor:
        executor.submit(theirs.run, fill).result(20)
        value = executor.submit(theirs.run, getattr, local, "value").result(20)
    found = Context().run(look)
    assert found == (1, 2, [1]), VERSIONS
    assert found[2] is value, VERSIONS  # and no copy


def thread_name_here() -> str:
    return current_thread().name


def thread_name() -> str:
    async def run() -> str:
        return await sync_to_async(thread_name_here)()

    return asyncio.run(run())


def send_thread_name(pipe: Any) -> None:
    pipe.send(thread_name())


def test_sync_code_of_a_forked_process_has_a_thread() -> None:
    assert thread_name().startswith("ThreadPoolExecutor"), VERSIONS  # the parent's thread waits for more from here on
    fork = multiprocessing.get_context("fork")
    receiving, sending = fork.Pipe(duplex=False)
    process = fork.Process(target=send_thread_name, args=[sending])
    process.start()
    try:
        assert receiving.poll(20), f"sync_to_async does not return after a fork; {VERSIONS}"
        assert receiving.recv().startswith("ThreadPoolExecutor"), VERSIONS
    finally:
        process.kill()
        process.join()


class Request(internals.UnparsedRequest):
    """A form from an interface server."""

    def __init__(self, readable: bool) -> None:
        super().__init__()
        self.readable = readable
        form = b"a=1"
        self.method, self.META = "POST", {"CONTENT_LENGTH": str(len(form)), "SERVER_NAME": "a", "SERVER_PORT": "80"}
        self.GET, self.COOKIES = QueryDict(), {}
        if readable:
            self.META["CONTENT_TYPE"] = "application/x-www-form-urlencoded; charset=utf-8"
        self.parse_content_type()
        self.body_stream = io.BytesIO(form)

    def original_scheme(self) -> str:
        return "https"

    def prepare_to_parse(self) -> bool:
        return self.readable


def test_a_request_is_parsed_on_demand() -> None:
    request = Request(readable=True)
    assert (request.scheme, request.content_type, request.encoding) == (
        "https", "application/x-www-form-urlencoded", "utf-8",
    ), VERSIONS  # fmt: skip
    assert (request.POST.dict(), len(request.FILES), request.body) == ({"a": "1"}, 0, b"a=1"), VERSIONS


def test_a_request_that_cannot_be_read_has_an_empty_form() -> None:
    request = Request(readable=False)
    assert (request.POST.dict(), len(request.FILES), request.content_type) == ({}, 0, ""), VERSIONS


class Outcome(Exception):
    """No error."""


class Handler(internals.ViewHandler):
    """A handler with one outcome."""

    outcomes: ClassVar = (Outcome,)

    def response_to(self, outcome: Exception) -> HttpResponse:
        return HttpResponse(f"passed on: {outcome}")


def through_views(exception: Exception) -> Any:
    def view(request: Any) -> HttpResponse:
        raise exception

    handler, request = Handler(), Request(readable=True)
    handler.load_middleware()
    request.method, request.path, request.path_info = "GET", "/", "/"
    with override_settings(ROOT_URLCONF=(url("", view),), ALLOWED_HOSTS=["a"]):
        return handler.get_response(request)


def test_an_outcome_of_a_view_is_a_response_and_an_error_is_an_error_page() -> None:
    response = through_views(Outcome("as it is"))
    assert (response.status_code, response.content) == (200, b"passed on: as it is"), VERSIONS
    assert through_views(ValueError("a fault")).status_code == 500, VERSIONS


def test_the_status_of_a_placeholder_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    for made in (internals.UnloggedResponse(status=503), HttpResponse(status=503)):
        log_response("%s", made.status_code, response=made, request=Request(readable=True))
    assert len(caplog.records) == 1, VERSIONS


def test_a_response_names_its_handler_when_it_is_closed() -> None:
    senders: list[Any] = []

    def note(sender: Any, **kwargs: Any) -> None:
        senders.append(sender)

    response = HttpResponse()
    internals.finish_as(response, Handler)
    request_finished.connect(note)
    try:
        response.close()
    finally:
        request_finished.disconnect(note)
    assert senders == [Handler], VERSIONS


def test_the_headers_of_a_response_are_found_as_they_are_spelled() -> None:
    response = HttpResponse(headers={"X-One": "1"})
    response["x-two"] = "2"
    assert list(internals.header_fields(response)) == list(response.items()), VERSIONS
    assert ("x-two", "2") in internals.header_fields(response), VERSIONS


def test_a_streaming_response_has_an_iterator() -> None:
    parts = [b"a"]
    assert list(internals.iterator_of(StreamingHttpResponse(parts))) == parts, VERSIONS
    assert internals.iterator_of(HttpResponse()) is None, VERSIONS


@override_settings(STATIC_URL="/static/")
def test_static_files_are_known_by_their_path() -> None:
    handler = StaticFilesHandler(None)  # type: ignore[arg-type]
    assert internals.serves(handler, "/static/a.css"), VERSIONS
    assert not internals.serves(handler, "/a.css"), VERSIONS


def test_what_holds_the_settings_has_their_overrides() -> None:
    with override_settings(EXTRA=1):
        holder = internals.settings_holder()
        assert vars(holder)["EXTRA"] == 1, VERSIONS
        assert not hasattr(holder.default_settings, "EXTRA"), VERSIONS


def test_a_session_is_read_and_emptied() -> None:
    session = SessionStore()
    session["a"] = 1
    assert internals.session_content(session) == {"a": 1}, VERSIONS
    internals.empty_session(session)
    assert internals.session_content(session) == {}, VERSIONS


NO_SECRETS = {"_meta", "_state", "_default_manager", "_base_manager", "_exit", "_binding_group_names"}
"""Names that Django and Python document, and one that the data binding sets on models."""


def private_names(source: str, ours: bool) -> set[str]:
    """Names with an underscore that a file makes (``ours``), or that it uses as attributes."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        name: str | None = None
        if isinstance(node, ast.Attribute):
            sets_own = isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == "self"
            name = node.attr if sets_own or not ours else None
        elif ours and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = node.name
        elif ours and isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        if name is not None and re.match("_[a-z]", name):
            names.add(name)
    return names


def test_no_other_file_uses_private_names_of_others() -> None:
    sources = {file: file.read_text() for room in ROOMS for file in (ROOT / room).rglob("*.py")}
    sources = {file: text for file, text in sources.items() if not file.stem.endswith("_internals")}
    known = NO_SECRETS.union(*(private_names(text, ours=True) for text in sources.values()))
    used = {
        file.relative_to(ROOT).as_posix(): private_names(text, ours=False) - known
        for file, text in sources.items()
        if file.is_relative_to(ROOT / "channels")
    }
    assert {file: names for file, names in used.items() if names} == {}


def test_a_pattern_can_be_opened_at_its_end() -> None:
    closed = [url("chat/<room>/", receiver).pattern, re_path(r"^chat/(?P<room>\w+)/", receiver).pattern]
    assert closed[0].match("chat/kitchen/3/") is None, VERSIONS
    for pattern in closed:
        assert internals.open_ended(pattern).match("chat/kitchen/3/") == ("3/", (), {"room": "kitchen"}), VERSIONS


def test_a_lazy_object_can_be_filled() -> None:
    lazy = LazyObject()  # type: ignore[var-annotated]
    for value in ("one", "two"):
        internals.fill_lazy(lazy, value)
        assert lazy.upper() == value.upper(), VERSIONS  # type: ignore[attr-defined]
        assert internals.unwrapped(lazy) is value, VERSIONS
    assert internals.unwrapped("one") == "one"


def test_the_content_of_a_session_is_seen_once_it_is_there() -> None:
    session = SessionStore()
    assert internals.loaded_session(session) is None, VERSIONS
    session["colour"] = "red"
    assert internals.loaded_session(session) == {"colour": "red"}, VERSIONS
