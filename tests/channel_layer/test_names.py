"""Rules for names."""

from __future__ import annotations

import pytest

from channel_layer import names
from channel_layer.exceptions import InvalidName


def test_a_name_may_be_200_characters_long_and_no_longer() -> None:
    assert names.check_channel("n" * 200) == "n" * 200
    with pytest.raises(InvalidName, match="201 characters, the limit is 200"):
        names.check_channel("n" * 201)


def test_a_name_that_is_no_text_is_called_by_its_type() -> None:
    with pytest.raises(InvalidName, match="a name is a str, not bytes"):
        names.check_group(b"group")


def test_receiving_on_the_full_name_of_a_process_channel_says_how_to_do_it() -> None:
    with pytest.raises(InvalidName, match="up to and including '!'"):
        names.check_receive("process!local")


def test_a_line_break_at_the_end_is_no_part_of_a_name() -> None:
    for check in (names.check_channel, names.check_receive, names.check_group):
        with pytest.raises(InvalidName):
            check("name\n")


@pytest.mark.parametrize("receivers", ["name", b"name", None, 3])
def test_a_receiver_gives_a_list_of_names(receivers: object) -> None:
    with pytest.raises(InvalidName, match="a list of channel names"):
        names.check_receivers(receivers)


def test_every_receiver_of_a_list_is_checked() -> None:
    names.check_receivers(["a", "b!", "c?d"])
    names.check_receivers([])
    for _ in range(2):
        with pytest.raises(InvalidName, match="'b c'"):
            names.check_receivers(["a", "b c"])


@pytest.mark.parametrize("other", [1, None, b"b", ["b"], {}, type("Text", (str,), {})("b")])
def test_what_is_no_text_in_a_list_of_names_is_refused(other: object) -> None:
    names.check_receivers(["a", "b"])
    with pytest.raises(InvalidName) as caught:
        names.check_receivers(["a", other])
    assert caught.value.__context__ is None
    with pytest.raises(InvalidName, match="a list of channel names"):
        names.check_receivers("ab")


def test_a_new_name_has_128_random_bits_behind_its_pattern() -> None:
    made = {names.new_name("http.response!") for _ in range(1000)}
    assert len(made) == 1000
    assert {len(name) for name in made} == {len("http.response!") + 22}
    assert all(names.check_channel(name) for name in made)


def test_split_gives_what_is_read_and_what_is_behind_it() -> None:
    assert names.split("daphne.x!abc") == ("daphne.x!", "abc")
    assert names.split("daphne.x!") == ("daphne.x!", "")
    assert names.split("single?abc") == ("single?abc", "")
    assert names.split("websocket.receive") == ("websocket.receive", "")


def test_single_reader_channels_are_counted_as_a_family() -> None:
    assert names.family("http.request.body?abc") == "http.request.body?"
    assert names.family("websocket.receive") == "websocket.receive"
    assert names.family("daphne.x!") == "daphne.x!"
