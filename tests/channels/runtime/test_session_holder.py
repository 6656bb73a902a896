"""`channels.runtime.session_holder`."""

from __future__ import annotations

from channels.runtime.session_holder import SESSION_KEYS, SessionHolder


def test_it_holds_who_is_logged_in_and_leaves_the_session_alone() -> None:
    session = {**dict.fromkeys(SESSION_KEYS, "x"), "basket": 3}
    holder = SessionHolder(session)
    assert holder.session == dict.fromkeys(SESSION_KEYS, "x")
    holder.session.cycle_key()
    assert not holder.session.flushed
    holder.session.flush()
    assert holder.session.flushed
    assert session["basket"] == 3
