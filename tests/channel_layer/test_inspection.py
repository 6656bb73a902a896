"""Elements of a queue as who looks sees them, beside what the conformance suite says of the layers."""

from __future__ import annotations

from channel_layer import codec
from channel_layer.inspection import INSPECTION, Look, largest, opened
from channel_layer.layer import ChannelLayer
from channel_layer.memory import MemoryChannelLayer


def test_a_layer_has_the_extension_only_if_it_says_so() -> None:
    assert INSPECTION not in ChannelLayer.extensions
    assert INSPECTION in MemoryChannelLayer.extensions


def test_what_cannot_be_read_is_shown_with_the_reason() -> None:
    looks = [Look("a", b"\xc1", 1, 2.0), Look("b", "it is encrypted", 7, 1.0)]
    junk, sealed = opened("work", looks, 1000)
    assert junk.reason.startswith("not msgpack")
    assert (sealed.channel, sealed.size, sealed.age, sealed.message, sealed.headers, sealed.reason) == (
        "work", 7, 1.0, None, None, "it is encrypted",
    )  # fmt: skip


def test_what_tells_of_memberships_is_left_out() -> None:
    frames = [
        codec.membership_frame(codec.JOIN, "team", "a", 10),
        codec.frame(codec.DIRECT, "a", codec.pack_body({"n": 1}), {"turn": 2}),
        codec.membership_frame(codec.LEAVE, "team", "a", None),
    ]
    [found] = opened("process!", [Look(str(n), frame, len(frame), 0.0) for n, frame in enumerate(frames)], 1000)
    assert (found.channel, found.message, found.headers) == ("process!a", {"n": 1}, {"turn": 2})


def test_equal_elements_are_told_apart() -> None:
    frame = codec.frame(codec.DIRECT, "", codec.pack_body({"n": 1}))
    found = opened("work", [Look(mark, frame, len(frame), 0.0) for mark in "aab"], 1000)
    assert len({waiting.mark for waiting in found}) == 3


def test_empty_groups_are_no_groups() -> None:
    assert largest({"a": 0, "b": 1, "c": 5, "d": 5}, 2) == (3, [("c", 5), ("d", 5)])
