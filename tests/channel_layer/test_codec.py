"""Frames, and bytes that are none."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channel_layer import codec
from channel_layer.codec import InvalidFrame
from channel_layer.elements import MAX_ELEMENTS
from channel_layer.exceptions import InvalidMessage

LIMIT = 1_310_720 + 65_536

scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.binary() | st.text()
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def frame(content: Any, headers: Any = None, kind: Any = codec.DIRECT, address: Any = "") -> bytes:
    return bytes(msgpack.packb([kind, address, content, headers]))


def deep(levels: int, innermost: bytes = b"\xc0") -> bytes:
    """A frame whose message is ``levels`` lists inside a dict, built without recursion."""
    return b"\x94\x00\xa0\x81\xa1k" + b"\x91" * levels + innermost + b"\xc0"


def many(element: bytes, count: int) -> bytes:
    """A frame whose message holds a list of that many elements."""
    return b"\x94\x00\xa0\x81\xa1k\xdd" + count.to_bytes(4, "big") + element * count + b"\xc0"


def nested_claims(size: int) -> bytes:
    """A frame of lists inside each other, each of which claims nearly as many elements as the frame has bytes."""
    start = b"\x94\x00\xa0\x81\xa1k" + (b"\xdd" + (size - 3_000).to_bytes(4, "big")) * 500
    return start + b"\xc0" * (size - len(start))


HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "the byte msgpack never uses": b"\xc1",
    "that byte inside a message": b"\x94\x00\xa0\x81\xa1k\xc1\xc0",
    "2,000 levels deep": deep(2000),
    "one level too deep": deep(codec.MAX_DEPTH + 1),
    "200,000 levels deep": deep(200_000),
    "deep dicts": b"\x94\x00\xa0" + b"\x81\xa1k" * 500 + b"\xc0\xc0",
    "arrays inside each other that claim what is not there": nested_claims(65_536),
    "a million empty dicts": many(b"\x80", 1_300_000),
    "a million small dicts": many(b"\x81\xa1a\x00", 325_000),
    "a million empty lists": many(b"\x90", 1_300_000),
    "a million empty texts": many(b"\xa0", 1_300_000),
    "a million numbers": many(b"\x07", 1_300_000),
    "a million nils": many(b"\xc0", 1_300_000),
    "more elements than a message and its headers may have": many(b"\x07", MAX_ELEMENTS + 4_096),
    "an array that claims 4 G elements": b"\xdd\xff\xff\xff\xff",
    "a message that claims 4 G keys": b"\x94\x00\xa0\xdf\xff\xff\xff\xff",
    "bytes that claim 4 GiB": b"\x94\x00\xa0\x81\xa1k\xc6\xff\xff\xff\xff",
    "text that claims 4 GiB": b"\x94\x00\xdb\xff\xff\xff\xff",
    "integer keys": frame({1: "x"}),
    "byte keys": frame({b"k": "x"}),
    "nested byte keys": frame({"k": [{"l": {b"m": 1}}]}),
    "a timestamp": frame({"k": msgpack.Timestamp(1)}),
    "an extension": frame({"k": msgpack.ExtType(42, b"x")}),
    "an extension as key": b"\x94\x00\xa0\x81\xd4\x01\x00\x01\xc0",
    "trailing bytes": frame({"k": 1}) + b"\x00",
    "two frames": frame({"k": 1}) * 2,
    "cut off": frame({"k": "some text"})[:-3],
    "text that is not UTF-8": b"\x94\x00\xa0\x81\xa1k\xa1\xff\xc0",
    "no array": msgpack.packb({"k": 1}),
    "a number": b"\x01",
    "an array of three": msgpack.packb([0, "", {}]),
    "an array of five": msgpack.packb([0, "", {}, None, None]),
    "a message that is a list": frame([1]),
    "a message that is text": frame("text"),
    "a message that is nil": frame(None),
    "headers that are a list": frame({}, headers=[1]),
    "an address that is bytes": frame({}, address=b"x"),
    "an address that is nil": frame({}, address=None),
    "an unknown kind": frame({}, kind=9),
    "a negative kind": frame({}, kind=-1),
    "a kind that is text": frame({}, kind="0"),
    "a kind that is a list": frame({}, kind=[]),
    "a member that is not text": frame(7, kind=codec.JOIN, address="group"),
    "a member that is a dict": frame({}, kind=codec.LEAVE, address="group"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_a_bad_frame_and_nothing_else(name: str) -> None:
    for data in (HOSTILE[name], memoryview(HOSTILE[name])):
        with pytest.raises(InvalidFrame):
            codec.unpack_frame(data, LIMIT)


def test_a_frame_over_the_limit_is_not_even_decoded() -> None:
    data = frame({"k": b"x" * 100})
    assert codec.unpack_frame(data, len(data))[2] == {"k": b"x" * 100}
    with pytest.raises(InvalidFrame, match=f"{len(data)} bytes, the limit is {len(data) - 1}"):
        codec.unpack_frame(data, len(data) - 1)


MEASURE = """
from tests.channel_layer.test_codec import HOSTILE
from channel_layer.cipher import Sealer
from channel_layer.memory import MemoryChannelLayer

def peak():
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

frames = [data for name, data in HOSTILE.items() if name.startswith(("a million", "arrays inside"))]
layer, sealer = MemoryChannelLayer(), Sealer(["secret"], "asgi:", 2_000_000)
sealed = [(sealer.for_channel("room", frame, 60), 0.0) for frame in frames]
layer.open_frames("room", [(frames[0][:100], 0.0)])
open("/proc/self/clear_refs", "w").write("5")  # from here on, the peak is of what follows
before = peak()
for frame in frames:
    assert layer.open_frames("room", [(frame, 0.0)] * 8) == []
assert layer.open_frames("room", sealer.open_all("room", sealed, None)[0]) == []
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
def test_eight_hostile_frames_at_once_take_no_more_than_16_mebibytes() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 16


def test_a_long_list_in_a_short_frame_passes() -> None:
    content = {"k": list(range(100)) * 300}
    packed = codec.frame(codec.DIRECT, "", codec.pack_body(content), {"turn": 1})
    assert len(packed) < MAX_ELEMENTS
    assert codec.unpack_frame(packed, LIMIT) == [codec.DIRECT, "", content, {"turn": 1}]


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_random_bytes_are_a_frame_or_a_bad_frame(data: bytes) -> None:
    try:
        kind, address, content, _ = codec.unpack_frame(data, LIMIT)
    except InvalidFrame:
        return
    assert kind in (codec.DIRECT, codec.GROUP, codec.JOIN, codec.LEAVE)
    assert isinstance(address, str)
    assert isinstance(content, (dict, str))


@settings(max_examples=60)
@given(st.dictionaries(st.text(), values), st.none() | st.dictionaries(st.text(), values), st.text())
def test_what_is_packed_comes_out_the_same(message: dict[str, Any], headers: dict[str, Any] | None, to: str) -> None:
    packed = codec.frame(codec.GROUP, to, codec.pack_body(message), headers)
    assert codec.unpack_frame(packed, LIMIT) == [codec.GROUP, to, message, headers]


@pytest.mark.parametrize("size", [65_535, 65_536, 200_000])
@pytest.mark.parametrize("others", [0, 1, 14, 15, 16, 40])
@pytest.mark.parametrize("text", [False, True])
def test_a_message_with_large_strings_comes_out_the_same(size: int, others: int, text: bool) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    large = content.decode("latin-1") if text else content
    message = {"first": large, **{f"key {number}": [number, b"x"] for number in range(others)}, "last": large[::-1]}
    before = dict(message)
    for sent in (message, {"only": large}):
        pieces = codec.pack_pieces(sent)
        whole = codec.pack_body(sent)
        assert type(whole) is bytes
        assert (bytes(pieces), len(pieces)) == (whole, len(whole))
        assert codec.unpack_body(pieces) == codec.unpack_body(whole) == sent
        data = codec.frame(codec.DIRECT, "a", pieces, {"turn": 1})
        assert data == codec.frame(codec.DIRECT, "a", whole, {"turn": 1})
        assert data == b"".join(codec.frame_pieces(codec.DIRECT, "a", pieces, {"turn": 1}))
        assert codec.unpack_frame(data, 1_000_000)[2] == sent
    assert message == before


def test_a_large_byte_string_is_not_copied_into_a_frame_in_pieces() -> None:
    large = bytes(100_000)
    _, piece, _ = codec.frame_pieces(codec.DIRECT, "a", codec.pack_pieces({"n": 1, "large": large, "b": b""}))
    assert piece is large


@pytest.mark.parametrize("large", [bytes(100_000), "x" * 100_000])
def test_what_cannot_be_packed_beside_a_large_string_is_named_with_its_place(large: object) -> None:
    with pytest.raises(InvalidMessage, match="'b'"):
        codec.pack_body({"a": large, "b": 1 << 70})


def test_a_large_text_that_is_not_valid_unicode_is_named() -> None:
    with pytest.raises(InvalidMessage, match="'b' is text that is not valid Unicode"):
        codec.pack_body({"a": 1, "b": "x" * 100_000 + "\ud800"})


def test_not_a_number_and_infinity_pass() -> None:
    content = {"nan": math.nan, "inf": -math.inf}
    out = codec.unpack_frame(codec.frame(codec.DIRECT, "", codec.pack_body(content)), LIMIT)[2]
    assert math.isnan(out["nan"])
    assert out["inf"] == -math.inf


def test_as_deep_as_allowed_passes_both_ways() -> None:
    value: Any = None
    for _ in range(codec.MAX_DEPTH):
        value = [value]
    packed = codec.frame(codec.DIRECT, "", codec.pack_body({"k": value}))
    assert packed == deep(codec.MAX_DEPTH)
    assert codec.unpack_frame(packed, LIMIT)[2] == {"k": value}
    with pytest.raises(InvalidMessage, match="deeper than 64 levels"):
        codec.pack_body({"k": [value]})


def test_text_and_numbers_of_derived_types_pass_as_what_they_derive_from() -> None:
    class Safe(str):
        pass

    class Count(int):
        pass

    packed = codec.frame(codec.DIRECT, "", codec.pack_body({"a": Safe("x"), "b": [Count(3)], "c": bytearray(b"y")}))
    assert codec.unpack_frame(packed, LIMIT)[2] == {"a": "x", "b": [3], "c": b"y"}


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({"a": {"b": [object()]}}, r"'a\.b\[0\]' is builtins\.object"),
        ({"a": 2**64}, "'a' is an integer of more than 64 bits"),
        ({"a": ["\ud800"]}, r"'a\[0\]' is text that is not valid Unicode"),
        ({"a": {"\ud800": 1}}, "is text that is not valid Unicode"),
        ({1: "x"}, "key 1 is int; keys are text"),
        ({"a": {b"k": 1}}, "key b'k' in 'a' is bytes; keys are text"),
        ({"a": [{"b": {3: 1}}]}, r"key 3 in 'a\[\].b' is int"),
        ({"a": msgpack.ExtType(1, b"")}, "'a' is msgpack.ExtType"),
        ({"a": [msgpack.Timestamp(1)]}, r"'a\[\]' is msgpack.Timestamp"),
        ([], "a message is a dict, not list"),
    ],
)
def test_what_cannot_be_packed_is_named_with_its_place(message: Any, complaint: str) -> None:
    with pytest.raises(InvalidMessage, match=complaint):
        codec.pack_body(message, "target")


def test_memberships_pass() -> None:
    for kind, seconds in ((codec.JOIN, 60), (codec.LEAVE, None)):
        packed = codec.membership_frame(kind, "group", "local", seconds)
        assert codec.unpack_frame(packed, LIMIT) == [kind, "group", "local", seconds]


def test_a_message_that_cannot_be_encoded_leaves_nothing_for_the_next() -> None:
    with pytest.raises(InvalidMessage):
        codec.pack_body({"good": "x" * 1_000, "bad": object()})
    assert codec.pack_body({"n": 1}) == msgpack.packb({"n": 1})


def test_threads_encode_at_the_same_time() -> None:
    class Slow(dict[str, int]):
        def items(self) -> Any:
            barrier.wait(30)
            return super().items()

    barrier = threading.Barrier(2)
    bodies: dict[int, bytes] = {}

    def encode(number: int) -> None:
        bodies[number] = codec.pack_body(Slow(number=number))

    threads = [threading.Thread(target=encode, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bodies == {number: msgpack.packb({"number": number}) for number in range(2)}


@pytest.mark.parametrize("group", ["a", "g" * 31, "g" * 32, "g" * 200])
@pytest.mark.parametrize("body", [{"n": 1}, {"n": list(range(3000))}], ids=["small", "large"])
def test_a_message_to_a_group_becomes_one_to_an_ordinary_channel(group: str, body: dict[str, Any]) -> None:
    frame = codec.frame(codec.GROUP, group, codec.pack_body(body), {"turn": 1})
    assert codec.unpack_frame(codec.readdressed(frame), 10**6) == [codec.DIRECT, "", body, {"turn": 1}]


@pytest.mark.parametrize("data", [b"", b"\x94", b"\x93\x01\xa1a\x80", b"\x94\x01\xc1\x80\xc0", b"text"])
def test_what_is_no_frame_cannot_be_readdressed(data: bytes) -> None:
    with pytest.raises(codec.InvalidFrame):
        codec.readdressed(data)
