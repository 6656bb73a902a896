"""Undocumented parts of Django and asgiref that this package uses, in one place.

The tests of this module fail, with the versions in their messages, when a release changes something.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from asyncio import AbstractEventLoop, Task
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import Context
from typing import TYPE_CHECKING, Any, ClassVar, cast

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, _restore_context
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.core.handlers.base import BaseHandler
from django.dispatch import Signal
from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.urls.resolvers import RegexPattern, RoutePattern
from django.utils.functional import LazyObject

if TYPE_CHECKING:
    from django.contrib.staticfiles.handlers import StaticFilesHandlerMixin


def _renew_shared_thread() -> None:
    """Give `sync_to_async` of a forked process a thread: asgiref would wait for the one that stayed in the parent."""
    SyncToAsync.single_thread_executor = ThreadPoolExecutor(max_workers=1)


os.register_at_fork(after_in_child=_renew_shared_thread)


def receiver_keys(signal: Signal) -> list[Hashable]:
    """List the first part of each receiver's key: its ``dispatch_uid``, or the `id` of the function."""
    return [entry[0][0] for entry in signal.receivers]


def has_only_receiver(signal: Signal, dispatch_uid: str) -> bool:
    """Tell if a signal has one receiver, connected with this ``dispatch_uid``. Cheap: asked around each message."""
    receivers = signal.receivers
    return len(receivers) == 1 and receivers[0][0][0] == dispatch_uid


def close_resources(response: HttpResponseBase) -> None:
    """Call what is to be closed with a response, which counts as closed from then on; ignore errors as Django does."""
    for closer in response._resource_closers:  # type: ignore[attr-defined]
        try:
            closer()
        except Exception:
            pass  # it must not keep the next one from being closed
    response._resource_closers.clear()  # type: ignore[attr-defined]
    response.closed = True


def close_with(response: HttpResponseBase, closer: Callable[[], object]) -> None:
    """Have something closed with a response."""
    response._resource_closers.append(closer)  # type: ignore[attr-defined]


def hand_over_resources(response: HttpResponseBase, replacement: HttpResponseBase) -> None:
    """Have what is to be closed with a response closed with its replacement, too."""
    replacement._resource_closers.extend(response._resource_closers)  # type: ignore[attr-defined]


def finish_as(response: HttpResponseBase, handler: type) -> None:
    """Name the handler that a response sends ``request_finished`` for."""
    response._handler_class = handler  # type: ignore[attr-defined]


def header_fields(response: HttpResponseBase) -> Iterable[tuple[str, str]]:
    """The names and values of a response's headers; ``items()`` looks each of them up again by its name."""
    return response.headers._store.values()


def iterator_of(response: HttpResponseBase) -> Any:
    """The iterator that a view has given to a streaming response; ``None`` for other responses."""
    return getattr(response, "_iterator", None)


class UnloggedResponse(HttpResponse):
    """A response whose status Django does not log."""

    _has_been_logged = True


class UnparsedRequest(HttpRequest):
    """Django's request before anything of it has been parsed.

    `HttpRequest` would make GET, POST and COOKIES at once, and leaves forms and files to each of its subclasses.

    Attributes:
        body_stream: what the body is read from; to be set before that.
    """

    def __init__(self) -> None:
        self._content_length = 0
        self._post_parse_error = False
        self._read_started = False
        self.resolver_match = None

    @property
    def body_stream(self) -> Any:
        """The file-like object that the body is read from."""
        return self._stream

    @body_stream.setter
    def body_stream(self, stream: Any) -> None:
        self._stream = stream

    def parse_content_type(self) -> None:
        """Set ``content_type``, ``content_params`` and the encoding from META."""
        if "CONTENT_TYPE" in self.META:
            self._set_content_type_params(self.META)  # type: ignore[attr-defined]
        else:
            self.content_type, self.content_params = "", {}

    @abstractmethod
    def original_scheme(self) -> str:
        """The scheme that the interface server has seen; ``SECURE_PROXY_SSL_HEADER`` may overrule it."""

    @abstractmethod
    def prepare_to_parse(self) -> bool:
        """Called before forms and files are parsed; returns false if nothing can be read any more."""

    def _get_scheme(self) -> str:
        return self.original_scheme()

    def _get_post(self) -> QueryDict:
        if not hasattr(self, "_post"):
            self._load_post_and_files()
        return self._post

    def _set_post(self, post: QueryDict) -> None:
        self._post = post

    def _get_files(self) -> object:
        if not hasattr(self, "_files"):
            self._load_post_and_files()
        return self._files  # type: ignore[attr-defined]

    POST = property(_get_post, _set_post)
    FILES = property(_get_files)

    def _load_post_and_files(self) -> None:
        if self.prepare_to_parse():
            super()._load_post_and_files()
        else:
            self._mark_post_parse_error()  # type: ignore[attr-defined]


class ViewHandler(BaseHandler):
    """Django's handler, in which some exceptions of a view are outcomes that pass through the middleware.

    Attributes:
        outcomes: the types of these exceptions.
    """

    outcomes: ClassVar[tuple[type[Exception], ...]] = ()

    @abstractmethod
    def response_to(self, outcome: Exception) -> HttpResponseBase:
        """The response in which an outcome is passed on."""

    def process_exception_by_middleware(self, exception: Exception, request: Any) -> Any:
        """Let middleware look at an exception of a view, unless it is an outcome."""
        if isinstance(exception, self.outcomes):
            raise exception
        return super().process_exception_by_middleware(exception, request)

    def _get_response(self, request: Any) -> Any:
        try:
            return super()._get_response(request)  # type: ignore[misc]
        except self.outcomes as outcome:
            return self.response_to(outcome)


def serves(handler: StaticFilesHandlerMixin, path: str) -> bool:
    """Tell if a path is below the STATIC_URL of a handler."""
    return bool(handler._should_handle(path))


def settings_holder() -> Any:
    """The object that holds the settings, or the innermost override of them; to read it raises no warning."""
    return cast("Any", settings)._wrapped


def session_content(session: SessionBase, no_load: bool = False) -> dict[str, Any]:
    """The content of a session, loaded if it was not yet and ``no_load`` is false."""
    content: dict[str, Any] = session._get_session(no_load=no_load)  # type: ignore[attr-defined]
    return content


def loaded_session(session: SessionBase) -> dict[str, Any] | None:
    """The content of a session that has been loaded or set; ``None`` of another, which stays as it is."""
    return getattr(session, "_session_cache", None)


def empty_session(session: SessionBase) -> None:
    """Drop the content of a session without loading it."""
    session._session_cache = {}  # type: ignore[attr-defined]


def give_key(session: SessionBase, key: str | None) -> None:
    """Set the key of a session, whether or not it exists in the store."""
    session._session_key = key


def run_in(executor: Executor, context: ThreadSensitiveContext) -> None:
    """Have `sync_to_async` use an executor in the current context.

    Args:
        executor: runs the functions.
        context: what asgiref looks the executor up by; it is forgotten with this object.
    """
    SyncToAsync.context_to_thread_executor[context] = executor
    SyncToAsync.thread_sensitive_context.set(context)


def runs_in(executor: object) -> bool:
    """True if `sync_to_async` uses an executor in the current context, on whose event loop no thread waits."""
    context = SyncToAsync.thread_sensitive_context.get(None)
    return context is not None and SyncToAsync.context_to_thread_executor.get(context) is executor


def prepare_thread(loop: AbstractEventLoop, tasks: list[Task[Any]]) -> None:
    """Have `async_to_sync` in the calling thread run coroutines on an event loop, as inside `sync_to_async`.

    Args:
        loop: the one.
        tasks: given the task of the coroutine that the thread waits for, while it does.
    """
    local = SyncToAsync.threadlocal
    local.main_event_loop, local.main_event_loop_pid, local.task_context = loop, os.getpid(), tasks


def has_locals(context: Context) -> bool:
    """True if a context has values of asgiref's `Local`, which belong to the thread that has set them."""
    return any(variable.name == "asgiref.local" for variable in context)


def adopt_context(context: Context) -> None:
    """Set what is set in another context in the current one; values of `Local` belong to this thread from then on."""
    _restore_context(context)


def open_ended(pattern: Any) -> Any:
    """Make the same pattern of ``path()`` or ``re_path()``, matching the beginning of a path.

    Raises:
        ValueError: it is another kind of pattern.
    """
    if isinstance(pattern, RegexPattern):
        text = pattern._regex  # type: ignore[attr-defined]
    elif isinstance(pattern, RoutePattern):
        text = pattern._route  # type: ignore[attr-defined]
    else:
        raise ValueError(f"Unsupported pattern type: {type(pattern)}")
    return type(pattern)(text, pattern.name, is_endpoint=False)


def unwrapped(thing: object) -> object:
    """The object that a lazy one stands for by now, in a tenth of the time of asking through it; any other as it is."""
    return object.__getattribute__(thing, "__dict__")["_wrapped"] if issubclass(type(thing), LazyObject) else thing


def fill_lazy(lazy: LazyObject, value: object) -> None:  # type: ignore[type-arg]  # Django 4.2 cannot take it
    """Give a lazy object what it stands for, before it asks for it or after."""
    lazy._wrapped = value
