"""Types of an ASGI 3 application, and the way from an older form to it."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from channels.utils import name_that_thing

Scope: TypeAlias = dict[str, Any]
Event: TypeAlias = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[object]]

LEASE = "millrace.lease"
"""Extension of a scope by which a worker that holds the instance says so; see `channels.hosting.hosted.Lease`."""


class NotAnApplication(TypeError):
    """Something that was passed as an application and cannot be called."""


def refuse_answer(channel: str, event: Event) -> None:
    """Raise `ValueError` for an event that an application behind a channel has sent: nobody waits for an answer."""
    raise ValueError(
        f"a consumer of channel {channel!r} sent {event['type']!r}, and has no client; "
        "send to a channel or group of the channel layer"
    )


def single_callable(application: Any, stacklevel: int = 3) -> Application:
    """Return an application in the form of ASGI 3; one that has it is returned as it is.

    A consumer class without ``as_asgi()`` and an application in the form of ASGI 2, ``application(scope)`` and then
    ``instance(receive, send)``, are what Channels 2 took. They are wrapped, with a `DeprecationWarning`.

    Middleware in the form of ASGI 2 calls what it wraps in that form, too. By the custom of Channels 2 it keeps it in
    its attribute ``inner``; an application of ASGI 3 is replaced there by one that is called in two steps.

    Args:
        application: what was passed as an application.
        stacklevel: the frame that the warning points at, as of `warnings.warn`.

    Raises:
        NotAnApplication: it cannot be called.
    """
    if not callable(application):
        raise NotAnApplication(f"an ASGI application is a callable (scope, receive, send), not {application!r}")
    if inspect.isclass(application) and hasattr(application, "as_asgi"):
        name = application.__name__
        _warn(f"{name} is passed without .as_asgi(), as in Channels 2; write {name}.as_asgi()", stacklevel)
        made: Application = application.as_asgi()
        return made
    if not _is_double(application):
        found: Application = application
        return found
    _warn(f"{name_that_thing(application)} takes only a scope, as in ASGI 2; take (scope, receive, send)", stacklevel)
    if not inspect.isclass(application):
        _put_into_two_steps(application)

    async def single(scope: Scope, receive: Receive, send: Send) -> object:
        return await application(scope)(receive, send)

    return single


def _put_into_two_steps(middleware: Any) -> None:
    """Have what ASGI 2 middleware wraps called in two steps, however deep below other middleware of its kind."""
    inner = getattr(middleware, "inner", None)
    if not callable(inner):
        return
    if _is_double(inner):
        _put_into_two_steps(inner)
    else:
        single = single_callable(inner)
        middleware.inner = lambda scope: functools.partial(single, scope)


def _is_double(application: Any) -> bool:
    return not _takes(application, 3) and _takes(application, 1)


def is_consumer(application: Any) -> bool:
    """True for what ``as_asgi()`` of a consumer has returned, as it is: nothing is around it."""
    return getattr(application, "consumer_itself", None) is application


def takes_events(application: Any) -> bool:
    """True if something can be called as ASGI 3 calls an application, as far as its signature shows."""
    return _takes(application, 3)


def _takes(application: Any, arguments: int) -> bool:
    try:
        # Not of what it wraps: an application made by as_asgi() wraps a class, which takes other arguments.
        inspect.signature(application, follow_wrapped=False).bind(*[None] * arguments)
    except TypeError:
        return False
    except ValueError:  # a callable of C, without a signature
        return arguments == 3
    return True


def _warn(text: str, stacklevel: int) -> None:
    warnings.warn(text, DeprecationWarning, stacklevel=stacklevel + 1)
