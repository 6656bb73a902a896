"""Attributes of consumers that cannot be carried to another worker, as far as their source shows them."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured

from .application import hosted_application

BOUND = frozenset({
    "create_task", "ensure_future", "Lock", "RLock", "Event", "Condition", "Semaphore", "BoundedSemaphore", "Queue",
    "Thread", "Timer", "open_connection", "ClientSession", "AsyncClient", "Popen",
})  # fmt: skip
"""Names of calls whose results belong to the process that made them."""


class BoundAttribute(NamedTuple):
    """An attribute of instances.

    Attributes:
        name: of the attribute.
        call: whose result it holds.
        line: of the file.
    """

    name: str
    call: str
    line: int


def check_application() -> list[CheckMessage]:
    """ASGI_APPLICATION: it is there, and its consumers can be carried over a deploy."""
    try:
        application = hosted_application("websocket")
    except ImproperlyConfigured as error:
        return [Error(str(error), id="channels.E005")]
    found: list[CheckMessage] = []
    for consumer in consumer_classes(application):
        if hasattr(consumer, "handover") and hasattr(consumer, "resumed"):
            continue
        for attribute in bound_attributes(consumer):
            found.append(
                Warning(
                    f"self.{attribute.name} holds what {attribute.call}() returns, which cannot be carried to another "
                    "worker: at a deploy connections that have it are closed with 1012.",
                    hint="Keep it elsewhere, or give the class the methods handover() and resumed(state).",
                    obj=f"{consumer.__module__}.{consumer.__qualname__}, line {attribute.line}",
                    id="channels.W007",
                )
            )
    return found


def consumer_classes(application: Any) -> list[type]:
    """The classes of consumers that an application is made of, found through routers and middleware."""
    found: dict[type, None] = {}
    seen: set[int] = set()
    waiting = [application]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        consumer = getattr(one, "consumer_class", None)
        if isinstance(consumer, type):
            found[consumer] = None
        mapping = getattr(one, "application_mapping", None)
        if isinstance(mapping, dict):
            waiting += [mapping.get("websocket")]
        waiting += [getattr(route, "callback", None) for route in getattr(one, "routes", None) or ()]
        waiting += [getattr(one, name, None) for name in ("inner", "application", "app")]
    return list(found)


def bound_attributes(consumer: type) -> list[BoundAttribute]:
    """Attributes to which methods of a class, or of its own base classes, assign what belongs to the process."""
    found: dict[str, BoundAttribute] = {}
    for base in consumer.__mro__:
        if base.__module__.split(".")[0] in ("channels", "builtins"):
            continue
        try:
            lines, first = inspect.getsourcelines(base)
            tree = ast.parse(textwrap.dedent("".join(lines)))
        except (OSError, TypeError, SyntaxError):
            continue
        for attribute in _assigned(tree):
            found.setdefault(attribute.name, attribute._replace(line=first + attribute.line - 1))
    return list(found.values())


def _assigned(tree: ast.AST) -> Iterator[BoundAttribute]:
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Assign, ast.AnnAssign)):
            continue
        value = node.value.value if isinstance(node.value, ast.Await) else node.value
        call = _name(value.func) if isinstance(value, ast.Call) else None
        if call is None or call.rpartition(".")[2] not in BOUND:
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Attribute) and _name(target.value) == "self":
                yield BoundAttribute(target.attr, call, node.lineno)


def _name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _name(node.value)
        return node.attr if inner is None else f"{inner}.{node.attr}"
    return None
