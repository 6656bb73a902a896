"""The table of delayed messages."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.utils import timezone

from channel_layer.memory import MemoryChannelLayer
from channels.delay.models import DelayedMessage


def waiting(channel: str = "later", delay: float = 0, **content: Any) -> DelayedMessage:
    row = DelayedMessage(channel_name=channel, content=json.dumps(content), delay=delay)
    row.save()
    return row


def test_a_delay_sets_the_due_date() -> None:
    before = timezone.now()
    row = DelayedMessage(channel_name="later", content="{}", delay=1500)
    assert row.delay == 1500
    assert before + timedelta(seconds=1.5) <= row.due_date <= timezone.now() + timedelta(seconds=1.5)


def test_only_those_whose_time_has_come_are_due() -> None:
    due = waiting()
    waiting(delay=60_000)
    assert list(DelayedMessage.objects.is_due()) == [due]


def test_a_sent_message_is_gone_from_the_table(layer: Any) -> None:
    waiting(text="hello").send()
    assert layer.receive(["later"]) == ("later", {"text": "hello"})
    assert not DelayedMessage.objects.exists()


def test_a_message_that_another_process_has_sent_is_not_sent_again(layer: Any) -> None:
    row = waiting(text="hello")
    DelayedMessage.objects.get(pk=row.pk).send(channel_layer=layer)
    row.send(channel_layer=layer)
    assert layer.receive(["later"]) == ("later", {"text": "hello"})
    assert layer.receive(["later"]) == (None, None)


def test_a_message_for_a_full_channel_waits_a_little_longer() -> None:
    layer = MemoryChannelLayer(capacity=1)
    layer.send("later", {})
    row = waiting(text="hello")
    row.send(channel_layer=layer, requeue_delay=5000)
    kept = DelayedMessage.objects.get()
    assert json.loads(kept.content) == {"text": "hello"}
    assert kept.due_date > timezone.now() + timedelta(seconds=3)


def test_a_message_that_is_not_in_the_table_is_sent_too(layer: Any) -> None:
    DelayedMessage(channel_name="later", content='{"a": 1}', delay=0).send()
    assert layer.receive(["later"]) == ("later", {"a": 1})


def test_the_application_has_a_label_that_django_takes() -> None:
    assert apps.get_app_config("channels_delay").name == "channels.delay"


def test_the_migrations_say_what_the_model_says() -> None:
    output = StringIO()
    call_command("makemigrations", "channels_delay", check=True, dry_run=True, stdout=output)
    assert "No changes" in output.getvalue()


@pytest.mark.parametrize("delay", [-5, 0])
def test_a_row_says_what_it_is(delay: int) -> None:
    assert str(waiting("news", delay)).startswith("for news, due 20")
