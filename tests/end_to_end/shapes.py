"""Applications of all shapes as tables of steps, and what plays them against a site; see `test_channels4_shapes`.

All shapes are played side by side, one step of each at a time, so that replacing a worker once is a hand-over for all
of them. A step may be done again: it then leads to the same state and the same answers. So a client may repeat what was
lost with a killed worker.
"""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from tests.end_to_end.channels4_site import SECONDS, Site
from tests.end_to_end.processes import ROOT

AGAIN_SECONDS = 12
"""How long a client waits for what may have been lost with a killed worker, before it repeats its step."""


class Wrong(Exception):
    """A socket heard something else than it should have."""


@dataclass(frozen=True)
class Closed:
    """In place of an answer: the end of a socket."""

    code: int


@dataclass(frozen=True)
class Refused:
    """In place of an answer: the socket is opened anew, and that is refused."""

    status: int


@dataclass(frozen=True)
class Step:
    """Something that is done, and what is heard of it.

    Attributes:
        by: the socket that sends ``what``, ``"job"`` for another process, ``"page"`` for a view; or nobody.
        what: a frame, a list of them, the arguments of a job, or a path.
        heard: answers in their order, by the socket that hears them.
        is_deploy: it is about the worker having been replaced before.
    """

    by: str
    what: Any
    heard: dict[str, list[Any]]
    is_deploy: bool = False


def say(what: Any, *heard: Any, by: str = "one", **others: list[Any]) -> Step:
    return Step(by, what, {by: list(heard), **others})


def job(kind: str, /, *heard: Any, **arguments: Any) -> Step:
    return Step("job", {"job": kind, **arguments}, {"one": list(heard)})


def page(path: str, *heard: Any) -> Step:
    return Step("page", path, {"one": list(heard)})


@dataclass(frozen=True)
class Shape:
    """Sockets and the steps that are played with them.

    Attributes:
        sockets: path by name, with subprotocols behind it if there are any.
        steps: in their order.
        before: steps before the sockets are opened.
        carried: false if a killed worker may leave a connection that cannot go on, so that its client has to connect
            again: its instance is gone, or the user has logged out and no checkpoint says so.
    """

    sockets: dict[str, tuple[str, ...]]
    steps: list[Step]
    before: list[Step] = field(default_factory=list)
    carried: bool = True


def one(*path: str) -> dict[str, tuple[str, ...]]:
    return {"one": path}


def both(answer: Any) -> dict[str, list[Any]]:
    return {"one": [answer], "two": [answer]}


def query(operation: str, kind: str, name: str) -> dict[str, Any]:
    return {
        "type": "subscribe",
        "id": operation,
        "payload": {"query": f'{kind} {{ score(name: "{name}") {{ points }} }}'},
    }


def result(operation: str, points: int | None) -> dict[str, Any]:
    return {"type": "next", "id": operation, "payload": {"data": {"score": {"points": points}}}}


def graphql(name: str) -> list[Step]:
    ping, pong = {"type": "ping"}, {"type": "pong"}
    return [
        say({"type": "connection_init"}, {"type": "connection_ack"}),
        say([query("s", "subscription", name), ping], pong),
        job("save", result("s", 4), name=name, points=4),
        page(f"/do/save/?name={name}&points=5", result("s", 5)),
        # Asked last: a client that says all again on a new socket gets what is there then.
        say(query("q", "query", name), result("q", 5), {"type": "complete", "id": "q"}),
        say([{"type": "complete", "id": "s"}, ping], pong),
    ]


SHAPES: dict[str, Shape] = {
    "a model on self": Shape(
        one("/ws/score/own/"),
        [
            say({"set": 5}, {"points": 5, "saved": 0}),
            say({}, {"points": 5, "saved": 0}),
            say({"do": "save"}, {"points": 5, "saved": 5}),
            say({"set": 7}, {"points": 7, "saved": 5}),
            say({"do": "save"}, {"points": 7, "saved": 7}),
        ],
    ),
    "a token in the query string": Shape(
        one("/ws/token/?token=ada"),
        [
            say({}, {"scope": "ada", "self": "ada"}),
            say({}, {"scope": "ada", "self": "ada"}),
            job("expire", token="ada"),
            Step("one", {}, {"one": [Closed(1012)]}, is_deploy=True),
            Step("", None, {"one": [Refused(403)]}, is_deploy=True),
        ],
        before=[job("user", name="ada")],
    ),
    "a token as subprotocol": Shape(
        one("/ws/subprotocol/", "access_token", "bob"),
        [say({}, {"scope": "bob", "self": "bob"})] * 3,
        before=[job("user", name="bob")],
    ),
    "a token in the first frame": Shape(
        one("/ws/first-frame/"),
        [
            say({}, {"user": ""}),
            say({"token": "eve"}, {"user": "eve"}),
            say({}, {"user": "eve"}),
            say({"token": ""}, {"user": ""}),
            say({}, {"user": ""}),
        ],
        before=[job("user", name="eve")],
    ),
    "a session that is written and saved by a consumer": Shape(
        one("/ws/session/"),
        [
            say({"put": "red"}, {"user": "", "colour": "red", "stored": False}),
            say({}, {"user": "", "colour": "red", "stored": False}),
            say({"do": "save"}, {"user": "", "colour": "red", "stored": True}),
            say({"put": "blue"}, {"user": "", "colour": "blue", "stored": True}),
            say({}, {"user": "", "colour": "blue", "stored": True}),
        ],
    ),
    "login and logout in a consumer": Shape(
        one("/ws/session/"),
        [
            say({"login": "gus"}, {"user": "gus", "colour": None, "stored": True}),
            say({}, {"user": "gus", "colour": None, "stored": True}),
            say({"do": "save"}, {"user": "gus", "colour": None, "stored": True}),
            say({"put": "red"}, {"user": "gus", "colour": "red", "stored": True}),
            say({"do": "logout"}, {"user": "", "colour": None, "stored": False}),
            say({}, {"user": "", "colour": None, "stored": False}),
        ],
        before=[job("user", name="gus")],
        carried=False,
    ),
    "somebody who was logged in by a page, and logs out there": Shape(
        one("/ws/session/"),
        [
            say({}, {"user": "joe", "colour": None, "stored": False}),
            say({}, {"user": "joe", "colour": None, "stored": False}),
            page("/sign-out/"),
            Step("one", {}, {"one": [Closed(1012)]}, is_deploy=True),
        ],
        before=[job("user", name="joe"), page("/sign-in/joe/")],
    ),
    "somebody who was logged in by a page, and logs out in a consumer": Shape(
        one("/ws/session/"),
        [
            say({}, {"user": "kim", "colour": None, "stored": False}),
            say({"do": "logout"}, {"user": "", "colour": None, "stored": False}),
            say({}, {"user": "", "colour": None, "stored": False}),
            say({"login": "joe"}, {"user": "joe", "colour": None, "stored": True}),
            say({}, {"user": "joe", "colour": None, "stored": True}),
        ],
        before=[job("user", name="joe"), job("user", name="kim"), page("/sign-in/kim/")],
        carried=False,
    ),
    "a channel's name in the database": Shape(
        {"one": ("/ws/presence/one/",), "two": ("/ws/presence/two/",)},
        [
            page("/do/nudge/?name=one&by=page", {"by": "page", "same": True}),
            job("nudge", {"by": "job", "same": True}, name="one", by="job"),
            say({"nudge": "one"}, by="two", one=[{"by": "two", "same": True}]),
            say({"nudge": "two"}, two=[{"by": "one", "same": True}]),
        ],
    ),
    "signals, from views, commands and consumers": Shape(
        {"one": ("/ws/follow/watched/",), "two": ("/ws/follow/watched/",)},
        [
            Step("job", {"job": "save", "name": "watched", "points": 1}, both({"name": "watched", "points": 1})),
            Step("job", {"job": "save", "name": "watched", "points": 2}, both({"name": "watched", "points": 2})),
            Step("two", {"set": 3}, both({"name": "watched", "points": 3})),
            Step("page", "/do/save/?name=watched&points=4", both({"name": "watched", "points": 4})),
        ],
    ),
    "many rooms, behind nested routers": Shape(
        {"one": ("/ws/teams/red/rooms/a/",), "two": ("/ws/teams/red/rooms/b/",), "other": ("/ws/teams/blue/rooms/b/",)},
        [
            say({"join": "b"}, {"rooms": ["a", "b"], "floor": 2}),
            say({"room": "b", "text": "hi"}, {"room": "b", "text": "hi"}, two=[{"room": "b", "text": "hi"}]),
            job("tell", {"room": "a", "text": "x"}, group="red.a", type="room.said", room="a", text="x"),
            say({"leave": "a"}, {"rooms": ["b"], "floor": 2}),
            say({"room": "a", "text": "nobody"}),
            say({"room": "b", "text": "on"}, {"room": "b", "text": "on"}, by="two", one=[{"room": "b", "text": "on"}]),
        ],
    ),
    "rows that are observed": Shape(
        {"one": ("/ws/observer/",), "two": ("/ws/observer/",)},
        [
            say(
                {"action": "subscribe", "request_id": "r1", "with": {"name": "row"}},
                {"request_id": "r1", "action": "subscribe", "data": {"name": "row", "points": 0}},
            ),
            say(
                {"action": "patch", "request_id": "r2", "with": {"name": "row", "points": 6}},
                {"request_id": "r2", "action": "patch", "data": {"name": "row", "points": 6}},
                by="two",
                one=[{"request_id": "r1", "action": "update", "data": {"name": "row", "points": 6}}],
            ),
            say(
                {"action": "subscribe", "request_id": "r3", "with": {"name": "row"}},
                {"request_id": "r3", "action": "subscribe", "data": {"name": "row", "points": 6}},
            ),
            job(
                "save",
                *[
                    {"request_id": request, "action": "update", "data": {"name": "row", "points": 8}}
                    for request in ("r1", "r3")
                ],
                name="row",
                points=8,
            ),
            say(
                {"action": "serialize", "request_id": "r4"},
                {"request_id": "r4", "action": "error", "data": "serialize"},
                by="two",
            ),
        ],
    ),
    "GraphQL, a group for each subscription": Shape(one("/ws/graphql/", "graphql-transport-ws"), graphql("groups")),
    "GraphQL, a task for each subscription": Shape(
        one("/ws/graphql-tasks/", "graphql-transport-ws"), graphql("tasks"), carried=False
    ),
    "bytes": Shape(
        one("/ws/binary/"),
        [say(b"\0a", b"kept \0a"), say(b"?", b"kept \0a"), say(b"", b"kept "), say(b"\xff", b"kept \xff")],
    ),
    "JSON of its own": Shape(
        one("/ws/decimal/"),
        [say({"total": 1.1}, {"total": "1.1"}), say({}, {"total": "1.1"}), say({"total": 0.25}, {"total": "0.25"})],
    ),
    "work behind a channel": Shape(
        one("/ws/thumbnails/"),
        [say({"picture": n}, {"picture": n, "by": "thumbnails-generate"}) for n in (1, 2, 3)],
    ),
}


class Jobs:
    """A process beside the site that does jobs for it, as a management command or a queue of tasks does."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def do(self, job: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        if (answer := self._process.stdout.readline()) != "done\n":
            raise Wrong(f"{job} was answered with {answer!r}")

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Play:
    """A shape being played."""

    def __init__(self, name: str, shape: Shape, site: Site, jobs: Jobs) -> None:
        self.name, self.shape = name, shape
        self.failure: str | None = None
        self._site, self._jobs = site, jobs
        self._cookies = CookieJar()
        self._pages = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies))
        self._sockets: dict[str, ClientConnection] = {}
        self._expected = [answer for step in shape.steps for answers in step.heard.values() for answer in answers]

    def open(self) -> None:
        """Open its sockets."""
        for step in self.shape.before:
            self.act(step)
        for name, (path, *subprotocols) in self.shape.sockets.items():
            cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._cookies)
            self._sockets[name] = self._site.open(
                path, subprotocols=subprotocols or None, additional_headers={"Cookie": cookies} if cookies else None
            )

    def close(self) -> None:
        """Close its sockets."""
        for socket in self._sockets.values():
            socket.close()

    def try_to_act(self, step: Step) -> None:
        """Do what a step says, of which a killed worker may make nothing."""
        try:
            self.act(step, AGAIN_SECONDS)
        except OSError:  # of a view, to which no answer came
            if step.by != "page":
                raise
        except ConnectionClosed as closed:
            if closed.rcvd is None or closed.rcvd.code != 1012 or self.shape.carried:
                raise
            self._connect_again(step)
            self.act(step, AGAIN_SECONDS)

    def act(self, step: Step, patience: float = SECONDS) -> None:
        """Do what a step says."""
        if step.by == "job":
            self._jobs.do(dict(step.what))
        elif step.by == "page":
            with self._pages.open(self._site.project.url + step.what, timeout=patience) as response:
                response.read()
        elif step.by:
            for frame in step.what if isinstance(step.what, list) else [step.what]:
                self._sockets[step.by].send(frame if isinstance(frame, bytes) else json.dumps(frame))

    def hear(self, step: Step) -> None:
        """Hear the answers of a step, these and no others, in their order."""
        for name, answers in step.heard.items():
            for answer in answers:
                heard = self._refused() if isinstance(answer, Refused) else self._next(name, SECONDS)
                if heard != answer:
                    raise Wrong(f"{name!r} heard {heard!r} of {step.what!r}, and not {answer!r}")

    def hear_nothing(self) -> None:
        """See that nothing is left to hear."""
        for name in self._sockets:
            if (heard := self._next(name, 0)) is not None and not isinstance(heard, Closed):
                raise Wrong(f"{name!r} heard {heard!r} besides")

    def hear_among_others(self, step: Step, patience: float) -> bool:
        """Hear the answers of a step among others of the shape; returns whether they were all there."""
        for name, answers in step.heard.items():
            missing = list(answers)
            while missing:
                heard = self._next(name, patience)
                if heard is None:
                    return False
                if heard in missing:
                    missing.remove(heard)
                elif isinstance(heard, Closed) and heard.code == 1012 and not self.shape.carried:
                    self._connect_again(step)
                    return False
                elif heard not in self._expected:
                    raise Wrong(f"{name!r} heard {heard!r} of {step.what!r}, and nothing of this shape is like it")
        return True

    def _connect_again(self, until: Step) -> None:
        """Open the sockets anew, and say what was said on them before a step."""
        self.close()
        self.open()
        for step in self.shape.steps[: self.shape.steps.index(until)]:
            if step.by in self._sockets:
                self.act(step)

    def _next(self, name: str, patience: float) -> Any:
        try:
            heard = self._sockets[name].recv(patience)
        except TimeoutError:
            return None
        except ConnectionClosed as closed:
            return Closed(closed.rcvd.code if closed.rcvd is not None else 1006)
        return heard if isinstance(heard, bytes) else json.loads(heard)

    def _refused(self) -> Any:
        path, *subprotocols = self.shape.sockets["one"]
        try:
            self._site.open(path, subprotocols=subprotocols or None).close()
        except InvalidStatus as refused:
            return Refused(refused.response.status_code)
        return "an open socket"


@contextmanager
def playing(site: Site, jobs: Jobs, shapes: dict[str, Shape]) -> Iterator[list[Play]]:
    """All shapes with their sockets open."""
    plays = [Play(name, shape, site, jobs) for name, shape in shapes.items()]
    try:
        for play in plays:
            attempt(play, play.open)
        yield plays
    finally:
        for play in plays:
            play.close()


def attempt(play: Play, do: Any, *arguments: Any) -> Any:
    """Do something with a shape, unless it has failed before; if it fails, it is noted there."""
    if play.failure is not None:
        return None
    try:
        return do(*arguments)
    except (Wrong, OSError, ConnectionClosed, InvalidStatus) as error:
        play.failure = f"{do.__name__} {arguments}: {error!r}"
        return None
