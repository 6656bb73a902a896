from __future__ import annotations

from typing import Any

import pytest

from channel_layer.redaction import redact


@pytest.mark.parametrize(
    ("text", "configuration", "shown"),
    [
        ("bad url redis://:pa#ss@host", ["redis://:pa#ss@host"], "bad url ***"),
        ("port could not be read: 'hunter2'", {"address": "redis://:hunter2#@h"}, "port could not be read: '***'"),
        ("invalid literal: b'sesame'", {"a": [{"b": (b"open/sesame",)}]}, "invalid literal: b'***'"),
        ("no pa ss", "redis://:p%61%20ss@h", "no pa ss"),
        ("got 's3 cr'", "redis://:s3%20cr@h", "got 's3 cr'"),
        ("not 12345678", {"password": 12345678}, "not ***"),
        ("no option 'passwort'", {"passwort": "sesame"}, "no option 'passwort'"),
        ("nothing is known", None, "nothing is known"),
    ],
)
def test_no_piece_of_a_value_is_shown(text: str, configuration: Any, shown: str) -> None:
    assert redact(ValueError(text), configuration) == shown
