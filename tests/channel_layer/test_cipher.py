"""Sealed frames: what opens, what does not, and what clocks may do."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channel_layer import cipher
from channel_layer.cipher import CLOCK_JUMP, CLOCK_TOLERANCE, OVERHEAD, Sealer
from channel_layer.codec import InvalidFrame
from channel_layer.exceptions import LayerConfigurationError

NOW = 1_800_000_000.0
HOUR = 3600.0
MINUTE = 60.0
EXPIRY = 60.0


class Clock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def sealer(*secrets: str | bytes, domain: str = "asgi:", clock: Clock | None = None, limit: int = 2000) -> Sealer:
    return Sealer(list(secrets) or ["secret"], domain, limit, clock or Clock())


def refused(by: Sealer, reader: str, data: bytes, reason: str, server_time: float | None = None) -> bool:
    with pytest.raises(InvalidFrame) as caught:
        by.open(reader, data, server_time)
    return str(caught.value) == reason


# -- what opens ----------------------------------------------------------------------------------------


@given(st.binary(max_size=1000), st.text(min_size=1) | st.binary(min_size=1))
def test_any_frame_comes_back_under_any_secret(frame: bytes, secret: str | bytes) -> None:
    assert sealer(secret).open("room", sealer(secret).for_channel("room", frame, EXPIRY)) == frame


def test_nothing_of_a_frame_can_be_read_in_what_is_sealed() -> None:
    by = sealer()
    everything = [
        by.for_channel("a.channel", b"the content", 1),
        by.for_processes(b"the content", 1),
        by.for_members("a-group", b"the content", 1) + by.ticket("a-group", "a.channel", 1),
    ]
    for data in everything:
        assert not any(word in data for word in (b"content", b"channel", b"group", b"secret"))


def test_the_same_frame_is_sealed_differently_each_time() -> None:
    by = sealer()
    assert len({by.for_channel("room", b"same", 1) for _ in range(1000)}) == 1000


def test_a_message_to_a_group_opens_on_any_process_and_for_ordinary_channels_with_their_ticket() -> None:
    sender, receiver = sealer(), sealer()
    assert receiver.open("process!", sender.for_processes(b"frame", 1)) == b"frame"
    ticket = sealer().ticket("group", "room", 1)
    assert receiver.open("room", sender.for_members("group", b"frame", 1) + ticket) == b"frame"


def test_a_ticket_is_as_long_as_the_constant_says() -> None:
    assert len(sealer().ticket("g" * 200, "r" * 200, 86_400)) == OVERHEAD


def test_the_longest_frame_opens_in_every_form() -> None:
    by, frame, group = sealer(limit=2000), b"x" * 2000, "g" * 200
    for reader, data in (
        ("room", by.for_channel("room", frame, 1)),
        ("process!", by.for_processes(frame, 1)),
        ("room", by.for_members(group, frame, 1) + by.ticket(group, "room", 1)),
    ):
        assert by.open(reader, data) == frame


def test_threads_can_share_a_sealer() -> None:
    by = sealer(limit=100_000)

    def there_and_back(number: int) -> bool:
        frame = b"%d" % number * 3000
        return by.open(f"room{number}", by.for_channel(f"room{number}", frame, 1)) == frame

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(there_and_back, range(2000)))


def test_each_sealer_has_a_key_of_its_own_and_takes_another_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cipher, "SEALS_PER_KEY", 100)
    one, other = sealer(), sealer()
    sealed = [by.for_channel("room", b"x", 1) for by in (one, other) for _ in range(250)]
    assert len({data[9:25] for data in sealed}) == 6
    assert len({data[1:9] for data in sealed}) == 1
    assert {sealer().open("room", data) for data in sealed} == {b"x"}


# -- attacks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", ["room", "process!"])
def test_no_bit_can_be_changed(reader: str) -> None:
    by = sealer()
    if reader == "room":
        data = by.for_members("group", b"frame", 1) + by.ticket("group", "room", 1)
    else:
        data = by.for_processes(b"frame", 1)
    for place in range(len(data)):
        for bit in range(8):
            altered = bytearray(data)
            altered[place] ^= 1 << bit
            with pytest.raises(InvalidFrame):
                by.open(reader, bytes(altered))


def test_no_byte_can_be_cut_off_or_added() -> None:
    by = sealer()
    data = by.for_channel("room", b"frame", 1)
    for altered in [data[:length] for length in range(len(data))] + [data + b"\0", b"\0" + data, data * 2]:
        with pytest.raises(InvalidFrame):
            by.open("room", altered)


def test_an_unknown_key_is_said() -> None:
    data = sealer("another secret").for_channel("room", b"frame", 1)
    assert refused(sealer(), "room", data, cipher.UNKNOWN_KEY)


def test_a_frame_opens_only_where_it_was_sent_to() -> None:
    by = sealer()
    data = by.for_channel("room", b"frame", 1)
    for elsewhere in ("another", "roo", "room.", "room!", "room?a", ""):
        assert refused(by, elsewhere, data, cipher.ALTERED)
    own = by.for_channel("process.a!", b"frame", 1)
    assert refused(by, "process.b!", own, cipher.ALTERED)


def test_a_frame_does_not_open_in_another_project_with_the_same_secret() -> None:
    data = sealer(domain="one:").for_channel("room", b"frame", 1)
    assert refused(sealer(domain="two:"), "room", data, cipher.ALTERED)


def test_a_group_frame_passes_for_no_frame_of_a_channel_and_the_other_way_round() -> None:
    by = sealer()
    to_processes = by.for_processes(b"frame", 1)
    assert refused(by, "room", to_processes, cipher.NOT_SEALED)
    assert refused(by, "process!", b"\x01" + to_processes[1:], cipher.ALTERED)
    assert refused(by, "process!", b"\x02" + by.for_channel("process!", b"frame", 1)[1:], cipher.ALTERED)
    to_members = by.for_members("group", b"frame", 1)
    assert refused(by, "process!", to_members + by.ticket("group", "process!", 1), cipher.NOT_SEALED)
    assert refused(by, "process!", b"\x02" + to_members[1:], cipher.ALTERED)


def test_a_frame_for_a_group_needs_the_ticket_of_that_group_and_channel() -> None:
    by = sealer()
    frame = by.for_members("group", b"frame", 1)
    assert refused(by, "room", frame + by.ticket("group", "another", 1), cipher.ALTERED)
    assert refused(by, "room", frame + by.ticket("another", "room", 1), cipher.ALTERED)
    for no_ticket in (b"", b"\0" * OVERHEAD, by.for_channel("room", b"", 1), by.for_processes(b"", 1)):
        with pytest.raises(InvalidFrame):
            by.open("room", frame + no_ticket)
    assert refused(by, "room", by.ticket("group", "room", 1), cipher.NOT_SEALED)


def test_plain_frames_are_refused() -> None:
    assert refused(sealer(), "room", b"\x94\x00\xa0\x80\xc0", cipher.NOT_SEALED)


@given(st.binary(max_size=300), st.sampled_from(["room", "process!", "single?reader"]))
def test_garbage_is_a_bad_frame_and_nothing_else(data: bytes, reader: str) -> None:
    by = sealer()
    known = by.for_channel(reader, b"", 1)[1:9]
    for attempt in (data, data[:1] + known + data[1:], b"\x01" + known + data, b"\x03" + data + b"\x04" + known + data):
        with pytest.raises(InvalidFrame):
            by.open(reader, attempt)


@given(st.data())
def test_a_changed_frame_never_opens(data: st.DataObject) -> None:
    by = sealer()
    sealed = by.for_channel("room", data.draw(st.binary(max_size=50)), 1)
    start = data.draw(st.integers(0, len(sealed)))
    end = data.draw(st.integers(start, len(sealed)))
    altered = sealed[:start] + data.draw(st.binary(max_size=20)) + sealed[end:]
    if altered != sealed:
        with pytest.raises(InvalidFrame):
            by.open("room", altered)


def test_what_is_too_large_is_not_even_decrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    by = sealer(limit=2000)
    data = by.for_channel("room", b"x" * 4000, 1)
    monkeypatch.setattr(by, "_open", None)
    assert refused(by, "room", data, cipher.TOO_LARGE)


# -- time ----------------------------------------------------------------------------------------------


def at(offset: float) -> Sealer:
    return sealer(clock=Clock(NOW + offset))


@pytest.mark.parametrize("sender", [-5 * MINUTE, 0, 5 * MINUTE])
@pytest.mark.parametrize("receiver", [-5 * MINUTE, 0, 5 * MINUTE])
@pytest.mark.parametrize("server", [-5 * MINUTE, 0, 5 * MINUTE])
def test_clocks_that_are_five_minutes_off_let_nothing_expire_early(
    sender: float, receiver: float, server: float
) -> None:
    data = at(sender).for_channel("room", b"frame", EXPIRY)
    assert at(receiver + EXPIRY).open("room", data, NOW + server + EXPIRY) == b"frame"


@pytest.mark.parametrize("skew", [-5 * MINUTE, 0, 5 * MINUTE])
def test_a_clock_that_jumps_by_an_hour_loses_nothing(skew: float) -> None:
    """The sender's, the receiver's, and the server's, while the others are up to five minutes off."""
    sent = at(skew).for_channel("room", b"frame", EXPIRY)
    assert at(HOUR + EXPIRY).open("room", sent, NOW + EXPIRY) == b"frame"
    assert at(EXPIRY).open("room", sent, NOW + HOUR + EXPIRY) == b"frame"
    from_the_future = at(HOUR + skew).for_channel("room", b"frame", EXPIRY)
    assert at(EXPIRY).open("room", from_the_future, NOW + EXPIRY) == b"frame"


def test_what_is_put_in_again_after_its_time_is_refused() -> None:
    sent = at(0).for_channel("room", b"frame", EXPIRY)
    last = NOW + EXPIRY + CLOCK_TOLERANCE
    assert sealer(clock=Clock(last)).open("room", sent, last) == b"frame"
    assert refused(sealer(clock=Clock(last + 1)), "room", sent, cipher.TOO_OLD, last + 1)


def test_a_server_that_lies_about_the_time_gains_an_hour_and_no_more() -> None:
    sent = at(0).for_channel("room", b"frame", EXPIRY)
    last = EXPIRY + CLOCK_TOLERANCE + CLOCK_JUMP
    assert at(last).open("room", sent, 0) == b"frame"
    assert refused(at(last + 1), "room", sent, cipher.TOO_OLD, 0)


def test_each_frame_lives_as_long_as_its_sender_said() -> None:
    by, clock = sealer(), Clock()
    joined = by.for_channel("process!", b"join", 86_400)
    frame, ticket = by.for_members("group", b"frame", EXPIRY), by.ticket("group", "room", 86_400)
    clock.now += 80_000
    later = sealer(clock=clock)
    assert later.open("process!", joined) == b"join"
    assert refused(later, "room", frame + ticket, cipher.TOO_OLD)
    assert later.open("room", later.for_members("group", b"new", EXPIRY) + ticket) == b"new"
    clock.now += 20_000
    assert refused(later, "room", later.for_members("group", b"new", EXPIRY) + ticket, cipher.TOO_OLD)


# -- several keys --------------------------------------------------------------------------------------


def test_the_first_key_seals_and_all_open() -> None:
    both = sealer("new", "old")
    assert sealer("new").open("room", both.for_channel("room", b"frame", 1)) == b"frame"
    assert both.open("room", sealer("old").for_channel("room", b"frame", 1)) == b"frame"


def test_a_rotation_in_steps_loses_nothing_whichever_process_is_first() -> None:
    steps = [["old"], ["old", "new"], ["new", "old"], ["new"]]
    for before, after in pairwise(steps):
        for sender, receiver in ((before, after), (after, before), (before, before), (after, after)):
            data = sealer(*sender).for_channel("room", b"frame", 1)
            assert sealer(*receiver).open("room", data) == b"frame"


def test_text_and_its_bytes_are_the_same_secret() -> None:
    assert sealer(b"gr\xc3\xbcn").open("room", sealer("grün").for_channel("room", b"frame", 1)) == b"frame"


# -- many at once, and complaints ----------------------------------------------------------------------


def test_bad_frames_among_good_ones_are_counted_and_named_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    by = sealer()
    good = [by.for_channel("room", b"%d" % number, 1) for number in range(3)]
    moved = [by.for_channel("another", b"x", 1)] * 5
    taken = [(data, float(place)) for place, data in enumerate([good[0], *moved, good[1], b"", good[2]])]
    assert by.open_all("room", taken, NOW) == ([(b"0", 0), (b"1", 6), (b"2", 8)], 6)
    views = [(memoryview(data), expires) for data, expires in taken]
    assert by.open_all("room", views, NOW) == ([(b"0", 0), (b"1", 6), (b"2", 8)], 6)
    assert [record.getMessage() for record in caplog.records] == [
        "dropped a message on room: it was altered, or comes from another channel",
        "dropped a message on room: it is not encrypted for such a channel",
    ]


@pytest.mark.parametrize(
    ("secrets", "complaint"),
    [
        ("hunter2", 'must be a list of secrets, ["..."], not str'),
        (b"hunter2", 'must be a list of secrets, ["..."], not bytes'),
        ({"hunter2"}, 'must be a list of secrets, ["..."], not set'),
        (["hunter2", None], "[1] must be text or bytes; it is NoneType"),
        (["hunter2", ""], "[1] must be text or bytes; it is empty"),
        ([b""], "[0] must be text or bytes; it is empty"),
    ],
)
def test_secrets_that_cannot_be_used_are_refused_without_being_shown(secrets: Any, complaint: str) -> None:
    with pytest.raises(LayerConfigurationError) as caught:
        Sealer(secrets, "asgi:", 2000)
    assert complaint in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_without_the_package_the_complaint_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(LayerConfigurationError, match=r"pip install 'django-millrace\[crypto\]'"):
        sealer()
