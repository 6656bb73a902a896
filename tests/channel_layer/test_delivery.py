"""What goes in and what comes out."""

from __future__ import annotations

from channel_layer.delivery import Delivery, Outgoing


def test_they_show_what_they_are_without_showing_contents() -> None:
    assert repr(Outgoing("room", b"12345")) == "<Outgoing channel room 5 bytes>"
    assert repr(Outgoing("room", b"12345", group=True)) == "<Outgoing group room 5 bytes>"
    assert repr(Delivery("room", {"text": "secret", "a": 1})) == "<Delivery on room: ['a', 'text']>"
    assert repr(Delivery("p!", {}, None, ("a", "b"))) == "<Delivery on p! to 2 members: []>"


def test_defaults_mean_one_channel_and_no_headers() -> None:
    out, delivery = Outgoing("room", b""), Delivery("room", {})
    assert (out.headers, out.group) == (None, False)
    assert (delivery.headers, delivery.members) == (None, None)
