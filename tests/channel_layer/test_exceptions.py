"""The texts people read when something is wrong."""

from __future__ import annotations

import ast
import copy
import pickle
import re
from pathlib import Path

import pytest

from channel_layer import exceptions
from channel_layer.exceptions import (
    ChannelFull,
    ChannelLayerError,
    InvalidMessage,
    InvalidName,
    LayerConfigurationError,
    LayerUnavailable,
    LayerUnusable,
    MessageTooLarge,
    TooManyElements,
    clause,
)

TEXTS = [
    (
        MessageTooLarge("room", 2000, 1000),
        "message for 'room' is too large: 2000 bytes encoded, the limit is 1000. "
        "Send it in parts, or send a reference to where it is stored.",
    ),
    (
        TooManyElements("room", 70_000, 65_536),
        "message for 'room' is too large: it has more than 65536 elements (numbers, texts, keys, lists, dicts). "
        "Send it in parts, or as one text, for example in JSON.",
    ),
    (InvalidName("channel", "a b", "use letters"), "invalid channel name 'a b': use letters"),
    (InvalidMessage("room", "it is odd"), "cannot send the message for 'room': it is odd"),
    (InvalidMessage(None, "it is odd"), "cannot send the message: it is odd"),
    (LayerUnavailable("redis://h:1", "refused"), "channel layer at redis://h:1 is unavailable: refused"),
    (LayerConfigurationError("capacity must be set"), "capacity must be set"),
    (
        LayerUnusable("redis://h:1", "Redis at redis://h:1 refuses us.", uncertain=False),
        "Redis at redis://h:1 refuses us.",
    ),
]


@pytest.mark.parametrize(("error", "text"), TEXTS, ids=lambda value: type(value).__name__)
def test_the_text_says_what_is_wrong(error: ChannelLayerError, text: str) -> None:
    assert str(error) == text


def test_a_full_channel_is_named_with_what_to_do() -> None:
    text = str(ChannelFull("room"))
    assert text.startswith("channel 'room' is full")
    assert "channel_capacity" in text
    assert str(ChannelFull()).startswith("the channel is full")


@pytest.mark.parametrize("error", [error for error, _ in TEXTS] + [ChannelFull("room")], ids=lambda e: type(e).__name__)
def test_an_error_survives_being_copied_and_pickled(error: ChannelLayerError) -> None:
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert str(twin) == str(error)


def test_there_is_one_tree() -> None:
    every = [thing for thing in vars(exceptions).values() if isinstance(thing, type)]
    assert len(every) >= 7
    assert all(issubclass(thing, ChannelLayerError) for thing in every)


def test_bad_names_and_messages_are_type_errors_as_the_specification_says() -> None:
    assert issubclass(InvalidName, TypeError)
    assert issubclass(InvalidMessage, TypeError)


@pytest.mark.parametrize(
    ("text", "part"), [("refuses us.", "refuses us"), ("One. Two. ", "One. Two"), ("away", "away"), ("", "")]
)
def test_a_text_as_a_part_of_a_sentence(text: str, part: str) -> None:
    assert clause(ValueError(text)) == part


ERROR = ast.dump(ast.parse("error", mode="eval").body)
ROOMS = ("channel_layer", "routing", "workers", "interface_server", "channels")


def test_no_text_goes_on_after_one_that_may_end_with_a_period() -> None:
    """Errors are put into sentences by `clause`; system texts (``strerror``) have no period."""
    root = Path(__file__).resolve().parents[2]
    found = []
    for path in (path for room in ROOMS for path in (root / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                texts = [argument for argument in node.args if isinstance(argument, ast.Constant)]
                template = str(texts[0].value) if texts else ""
                names = [argument.id for argument in node.args[1:] if isinstance(argument, ast.Name)]
                if re.search("%s[.;]", template) and any(name in ("error", "caught") for name in names):
                    found.append(f"{path.relative_to(root)}:{node.lineno}")
            elif isinstance(node, ast.JoinedStr):
                for value, following in zip(node.values, node.values[1:], strict=False):
                    goes_on = isinstance(following, ast.Constant) and str(following.value)[:1] in (".", ";")
                    if goes_on and isinstance(value, ast.FormattedValue) and ast.dump(value.value) == ERROR:
                        found.append(f"{path.relative_to(root)}:{node.lineno}")
    assert found == []
