"""`channels.runtime.django_internals`: fails, and names the versions, when Django or asgiref have changed inside."""

from __future__ import annotations

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from threading import current_thread
from typing import Any

import django
import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.contrib.sessions.backends.db import SessionStore
from django.dispatch import Signal
from django.http import HttpResponse

from channels.runtime import django_internals as internals

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
        return [await sync_to_async(lambda: current_thread().name)() for _ in range(2)]

    with ThreadPoolExecutor(1, "chosen") as executor:
        assert asyncio.run(run()) == ["chosen_0"] * 2, VERSIONS
