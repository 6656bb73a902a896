"""Questions to an interface server that ride with heartbeats."""

from __future__ import annotations

from workers.lease_questions import ASK_SECONDS, LEASES_AT_A_TIME, LeaseQuestions


def test_each_lease_is_asked_about_once_in_a_round_and_so_many_at_a_time() -> None:
    questions = LeaseQuestions(0.0)
    leases = {f"c{number}": number for number in range(LEASES_AT_A_TIME * 2 + 1)}
    assert questions.next(ASK_SECONDS - 1, lambda: leases) == {}
    parts = []
    now = ASK_SECONDS
    while part := questions.next(now, lambda: leases):
        parts.append(part)
        now += 2
    assert [len(part) for part in parts] == [LEASES_AT_A_TIME, LEASES_AT_A_TIME, 1]
    assert {local: epoch for part in parts for local, epoch in part.items()} == leases
    assert questions.next(2 * ASK_SECONDS, lambda: leases) == parts[0]


def test_silence_counts_from_the_first_question_that_has_no_answer() -> None:
    questions = LeaseQuestions(0.0)
    assert questions.silence(100.0) == 0
    questions.asked(100.0)
    questions.asked(130.0)
    assert questions.silence(140.0) == 40
    questions.answered()
    assert questions.silence(200.0) == 0
