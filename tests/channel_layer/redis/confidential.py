"""Entries of ``hosts`` with a password in every place where one may stand, or may have slipped to."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

SECRET = "hunter2x"

_around = st.text(alphabet=":@/#?&=% []\\\n\té2a", max_size=4)
_scheme = st.sampled_from(["redis://", "rediss://", "unix://", "http://", "redis:/", "redis:", "", "REDIS://", "://"])
_host = st.sampled_from(["host", "host:6379", "[::1]:6379", "10.0.0.1", "", "a..b", "/run/redis.sock", "host:port"])
_tail = st.sampled_from(["/0", "", "/", "?db=1", "/0?prot=1", "/0#x"])


@st.composite
def _urls(draw: st.DrawFn) -> str:
    password = draw(_around) + SECRET + draw(_around)
    if draw(st.booleans()):
        password = quote(password, safe=draw(st.sampled_from(["", "/:@"])))
    if draw(st.booleans()):
        user = draw(st.sampled_from(["", "user", "us@er", "user:"]))
        return f"{draw(_scheme)}{user}:{password}@{draw(_host)}{draw(_tail)}"
    return f"{draw(_scheme)}{draw(_host)}/0?{draw(st.sampled_from(['password', 'pw', 'username']))}={password}"


@st.composite
def _entries(draw: st.DrawFn) -> Any:
    url = draw(_urls())
    password = draw(_around) + SECRET + draw(_around)
    return draw(
        st.sampled_from(
            [
                url, url, url, url.encode(), (url, 6379), ("host", password), [url], (url, url), ("x", 6379, password),
                {"address": url}, {"address": url, "prot": 1}, {"url": url}, {"host": url, "port": 6379},
                {"host": "host", "password": password}, {"host": "host", "port": password},
                {"host": "host", "password": password, "prot": 1}, {"host": "host", "db": password}, {url}, [[url]],
                {"address": ("host", 6379), "password": password, "protocol": password}, {"address": {"url": url}},
            ]
        )
    )  # fmt: skip


entries = _entries()
"""Hypothesis' strategy for them. Each holds `SECRET`, never as a host, and most are broken."""
