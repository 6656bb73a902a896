"""`channels.signals`: what a receiver gets. When they are sent is in `test_hooks`."""

from __future__ import annotations

import pytest
from django.db import connection

from channels import db, signals
from channels.runtime.django_internals import has_only_receiver


@pytest.mark.parametrize("name", ["consumer_started", "consumer_finished", "worker_ready", "worker_process_ready"])
def test_they_have_the_names_of_channels_1(name: str) -> None:
    assert hasattr(getattr(signals, name), "connect")


@pytest.mark.parametrize("name", ["consumer_started", "consumer_finished"])
def test_old_connections_are_closed_on_both_sides_of_a_consumer_whoever_sends_the_signal(name: str) -> None:
    connection.ensure_connection()
    connection.close_at = 0.0
    getattr(signals, name).send(sender=type(connection))
    assert connection.connection is None


def test_a_receiver_that_comes_later_is_called_too() -> None:
    seen = []

    def receiver(sender: object, **kwargs: object) -> None:
        seen.append(kwargs["message"])

    class Sender:
        pass

    signals.consumer_started.send(sender=Sender, message=1)
    signals.consumer_started.connect(receiver)
    signals.consumer_started.send(sender=Sender, message=2)
    signals.consumer_started.disconnect(receiver)
    signals.consumer_started.send(sender=Sender, message=3)
    assert seen == [2]


def test_an_application_may_send_them_without_a_sender() -> None:
    assert all(answer is None for _, answer in signals.consumer_finished.send(sender=None))


def test_whether_others_listen_is_known() -> None:
    def receiver(**kwargs: object) -> None: ...

    signal = signals.consumer_started
    assert has_only_receiver(signal, signals.LOOK_AFTER)
    signal.connect(receiver)
    assert not has_only_receiver(signal, signals.LOOK_AFTER)
    signal.disconnect(receiver)
    assert has_only_receiver(signal, signals.LOOK_AFTER)
    signal.disconnect(dispatch_uid=signals.LOOK_AFTER)
    assert not has_only_receiver(signal, signals.LOOK_AFTER)
    signal.connect(db.close_old_connections, dispatch_uid=signals.LOOK_AFTER)
    assert has_only_receiver(signal, signals.LOOK_AFTER)
