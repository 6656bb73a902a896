"""What an interface server counts."""

from __future__ import annotations

import pytest

from interface_server.facts import STALL_SECONDS, Facts, path_pattern


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("/", "/"),
        ("/chat/", "/chat/"),
        ("/v1/chat/lobby/", "/v1/chat/lobby/"),
        ("/chat/7/", "/chat/*/"),
        ("/chat/1234", "/chat/*"),
        ("/order/550e8400-e29b-41d4-a716-446655440000/lines", "/order/*/lines"),
        ("/s/abcdefghijklmnopqrstuvwxyz", "/s/*"),
        ("/a\x00b/", "/*/"),
        ("/a/b/c/d/e/f/g/h/i", "/a/b/c/d/e/f/..."),
    ],
)
def test_parts_of_a_path_that_identify_something_are_left_out(path: str, pattern: str) -> None:
    assert path_pattern(path) == pattern


def test_delays_of_the_clock_add_up_unless_they_are_small() -> None:
    facts = Facts()
    for late in (0.5, STALL_SECONDS / 2, 0.25):
        facts.tick(late)
    assert facts.stalled_seconds == 0.75


def test_the_bytes_of_a_look_are_complete_once_it_is_over() -> None:
    facts = Facts()
    facts.counting_bytes += 5
    assert facts.outbox_bytes == 0
    facts.look_at_outboxes()
    assert facts.outbox_bytes == 5
    facts.look_at_outboxes()
    assert facts.outbox_bytes == 0
