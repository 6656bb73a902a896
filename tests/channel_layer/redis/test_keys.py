"""The keys in Redis."""

from __future__ import annotations

from channel_layer.redis.keys import Keys


def test_single_reader_channels_share_one_record_of_statistics() -> None:
    assert Keys("p:").statistics("http.request.body?abc") == Keys("p:").statistics("http.request.body?def")
    assert Keys("p:").statistics("daphne.a!") == "p:s:daphne.a!"


def test_a_prefix_with_glob_characters_is_taken_literally() -> None:
    assert Keys("a*[b]?").pattern() == "a\\*\\[b\\]\\?*"


def test_what_a_key_was_made_of_can_be_read_from_it() -> None:
    keys = Keys("p:")
    assert keys.reader_of((keys.queues + "daphne.a!").encode()) == "daphne.a!"
    found = [keys.members("group", "daphne.a!").encode(), keys.group("group").encode(), b"p:c:m:"]
    assert keys.memberships(found) == [("group", "daphne.a!")]
