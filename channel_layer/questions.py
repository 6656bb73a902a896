"""Questions to processes: what an operator asks one of them, and the pages of its answer.

A process is asked by the name of its report. A web server takes questions on its process channel, a worker on a
single-reader channel of its own (`channel_for`). A question is a message:

=============  =======================================================================================
``format``     `FORMAT`. A process of another format answers with a sentence that says so.
``ask``        a word: web servers know ``connections``, ``connection``, ``close`` and ``drain``, workers ``drain``
``answer_to``  a channel made from `ANSWERS`
``patience``   seconds for which the asker waits; what waited longer on its way is not done any more
=============  =======================================================================================

and what belongs to the word. The answer comes in pages, each a message of bounded size:

=============  =======================================================================================
``format``     `FORMAT`
``process``    name of the process
``page``       1, 2, …
``last``       whether no page follows
``error``      a sentence, in place of all else
=============  =======================================================================================

Whoever may write to the layer may ask; nothing else protects it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

FORMAT: Final = 1

QUESTIONS: Final = "questions"
"""Local part of the channel of an interface server on which it is asked, and the beginning of that of a worker."""

ANSWERS: Final = "millrace.answers?"
"""Pattern of the channels of askers."""

PATIENCE: Final = 2.0
"""Seconds without a word from a process after which it is given up."""

PAGE_ROWS: Final = 100
"""Connections in one page."""

MOST_PATH: Final = 300
"""Characters of a path in a page."""


MOST_REASON: Final = 123
"""Bytes of the reason of a close (RFC 6455, section 5.5.1)."""

_NEVER_SENT: Final = frozenset({1004, 1005, 1006, 1015})


def may_be_sent(code: int) -> bool:
    """True of a close code that may stand in a close frame (RFC 6455, section 7.4)."""
    return 1000 <= code <= 4999 and code not in _NEVER_SENT


class Question(NamedTuple):
    """A question that was understood.

    Attributes:
        ask: its word.
        answer_to: channel for the answer.
        content: the whole message.
    """

    ask: str
    answer_to: str
    content: Mapping[str, Any]


class BadQuestion(Exception):
    """A question that cannot be answered; the text is one sentence.

    Attributes:
        answer_to: channel for the sentence; empty if it named none.
    """

    def __init__(self, sentence: str, answer_to: str = "") -> None:
        super().__init__(sentence)
        self.answer_to = answer_to


def channel_for(kind: object, name: str) -> str:
    """The channel on which a process is asked, by the kind and the name of its report."""
    return f"{name}!{QUESTIONS}" if kind == "web" else f"{QUESTIONS}?{name}"


def question(ask: str, answer_to: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """The message of a question."""
    return {**content, "format": FORMAT, "ask": ask, "answer_to": answer_to, "patience": PATIENCE}


def understood(name: str, message: Mapping[str, Any], waited: list[float]) -> Question | None:
    """Take in a question to the process ``name``.

    Args:
        name: of the process, for the sentence.
        message: as it came.
        waited: seconds that it waited on its way, if the layer can tell; see `ChannelLayer.waited`.

    Returns:
        ``None`` if nobody waits for the answer any more, and nothing is to be done.

    Raises:
        BadQuestion: it is of another format, or none.
    """
    answer_to = message.get("answer_to")
    if not isinstance(answer_to, str) or not answer_to.startswith(ANSWERS):
        raise BadQuestion("a question names no channel for its answer")
    if message.get("format") != FORMAT:
        sentence = f"{name} answers questions of format {FORMAT}, not {message.get('format')}; update one of the two"
        raise BadQuestion(sentence, answer_to)
    patience = message.get("patience")
    if waited and isinstance(patience, (int, float)) and waited[0] > patience:
        return None
    return Question(str(message.get("ask")), answer_to, message)


def page(name: str, number: int, last: bool, **content: object) -> dict[str, Any]:
    """One page of an answer of the process ``name``."""
    return {"format": FORMAT, "process": name, "page": number, "last": last, **content}
