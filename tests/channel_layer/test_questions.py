"""Questions and pages, without a layer."""

from __future__ import annotations

from typing import Any

import pytest

from channel_layer.names import check_channel
from channel_layer.questions import (
    FORMAT,
    PATIENCE,
    BadQuestion,
    Question,
    channel_for,
    may_be_sent,
    page,
    question,
    understood,
)

ASKER = "millrace.answers?x"


def test_each_kind_of_process_has_a_channel_for_questions() -> None:
    assert check_channel(channel_for("web", "daphne.x")) == "daphne.x!questions"
    assert check_channel(channel_for("worker", "worker.x")) == "questions?worker.x"


def test_a_question_is_understood_as_it_was_asked() -> None:
    message = question("close", ASKER, {"path": "/chat/"})
    found = understood("daphne.x", message, [])
    assert found == Question("close", ASKER, message)
    assert found.content["path"] == "/chat/"


@pytest.mark.parametrize(("waited", "is_done"), [([], True), ([PATIENCE / 2], True), ([PATIENCE * 2], False)])
def test_what_nobody_waits_for_any_more_is_not_done(waited: list[float], is_done: bool) -> None:
    assert (understood("daphne.x", question("drain", ASKER, {}), waited) is not None) is is_done


@pytest.mark.parametrize("other", [FORMAT + 1, None, "1"])
def test_a_question_of_another_version_is_one_sentence_for_the_asker(other: Any) -> None:
    with pytest.raises(
        BadQuestion, match=r"^daphne\.x answers questions of format 1, not .*; update one of the two$"
    ) as e:
        understood("daphne.x", {**question("drain", ASKER, {}), "format": other}, [])
    assert e.value.answer_to == ASKER


@pytest.mark.parametrize("answer_to", [None, 5, "http.request", "daphne.x!shared"])
def test_an_answer_goes_to_nobody_but_an_asker(answer_to: Any) -> None:
    with pytest.raises(BadQuestion, match="names no channel") as e:
        understood("daphne.x", {**question("drain", ASKER, {}), "answer_to": answer_to}, [])
    assert e.value.answer_to == ""


def test_a_page_says_whose_it_is() -> None:
    assert page("daphne.x", 2, False, rows=[]) == {
        "format": FORMAT,
        "process": "daphne.x",
        "page": 2,
        "last": False,
        "rows": [],
    }


def test_close_codes_that_may_be_sent() -> None:
    assert [code for code in (999, 1000, 1004, 1005, 1006, 1012, 1015, 3000, 4999, 5000) if may_be_sent(code)] == [
        1000,
        1012,
        3000,
        4999,
    ]
