"""Applications of the shapes of Channels 4, played while workers are replaced between every two steps, or killed."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.end_to_end.channels4_site import SECONDS, Site, serving
from tests.end_to_end.shapes import AGAIN_SECONDS, SHAPES, Jobs, Play, Step, Wrong, attempt, playing

pytestmark = pytest.mark.slow

SEEDS = int(os.environ.get("KILL_SEEDS", "0"))
"""Further runs with three kills each, a minute or more apiece: ``KILL_SEEDS=20`` finds what one run does not."""
TIMES = 3
ROUNDS = max(len(shape.steps) for shape in SHAPES.values())


@pytest.fixture(scope="module")
def site(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving("tests.fixtures.channels4_shapes", new_database(), tmp_path_factory.mktemp("shapes")) as site:
        yield site


@pytest.fixture(scope="module")
def jobs(site: Site) -> Iterator[Jobs]:
    found = Jobs([*site.project.manage, "jobs"], os.environ | site.project.environment)
    yield found
    found.close()


@pytest.fixture(scope="module")
def replaced(site: Site, jobs: Jobs) -> dict[str, str | None]:
    """Failures of the shapes while the worker was replaced between every two steps."""
    with playing(site, jobs, SHAPES) as plays:
        for number in range(ROUNDS):
            for play, step in steps(plays, number):
                attempt(play, play.act, step)
                attempt(play, play.hear, step)
            site.deploy()
        for play in plays:
            attempt(play, play.hear_nothing)
    return {play.name: play.failure for play in plays}


def steps(plays: list[Play], number: int) -> list[tuple[Play, Step]]:
    """The step of this number of each shape that has so many."""
    return [(play, play.shape.steps[number]) for play in plays if number < len(play.shape.steps)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_whose_worker_is_replaced_between_every_two_steps(
    shape: str, replaced: dict[str, str | None], site: Site
) -> None:
    failure = replaced[shape]
    assert failure is None, f"{failure}\n{site.project.logs()}"


class Killer:
    """Kills a worker at a random moment of some rounds, and has another begin in its place."""

    def __init__(self, site: Site, seed: int, kills: int) -> None:
        self._site = site
        self._random = random.Random(seed)
        self._rounds = set(self._random.sample(range(ROUNDS), kills))
        self._timer: threading.Timer | None = None
        self.did = ""

    def __enter__(self) -> Killer:
        return self

    def __exit__(self, *error: object) -> None:
        self.wait()

    def begin(self, number: int, about: float) -> bool:
        """Kill one in this round, if it is one of those, within a time that such a round takes about."""
        if number not in self._rounds:
            return False
        worker, moment = self._random.randrange(2), self._random.uniform(0, about)
        self.did += f"worker {worker} killed {moment:.3f} s after the beginning of step {number}; "
        self._timer = threading.Timer(moment, self._site.kill, [worker])
        self._timer.start()
        return True

    def wait(self) -> None:
        """See that it is done."""
        if self._timer is not None:
            self._timer.join()


def answered(play: Play, step: Step, was_killed: bool) -> None:
    """Hear the answers of a step, which is done again if a killed worker may have lost it."""
    for _ in range(TIMES if was_killed else 1):
        if play.hear_among_others(step, AGAIN_SECONDS if was_killed else SECONDS):
            return
        play.try_to_act(step)
    raise Wrong(f"{step.what!r} was not answered with {step.heard}")


@pytest.mark.parametrize(("seed", "kills"), [(1, 1), *((seed, 3) for seed in range(2, 2 + SEEDS))])
def test_answers_are_right_and_sockets_stay_open_while_workers_are_killed(
    seed: int, kills: int, site: Site, jobs: Jobs
) -> None:
    while len(site.project.workers) < 2:
        site.add_worker()
    jobs.do({"job": "reset"})
    about = 1.0
    with playing(site, jobs, SHAPES) as plays, Killer(site, seed, kills) as killer:
        for number in range(ROUNDS):
            was_killed = killer.begin(number, about)
            # What a step led to is in a checkpoint when the next event is answered. The first two times may be lost.
            for _ in range(3 if was_killed else 2):
                began = time.monotonic()
                round_ = [(play, step) for play, step in steps(plays, number) if not step.is_deploy]
                for play, step in round_:
                    attempt(play, play.try_to_act, step)
                for play, step in round_:
                    attempt(play, answered, play, step, was_killed)
                killer.wait()
            about = time.monotonic() - began
    failures = {play.name: play.failure for play in plays if play.failure is not None}
    assert failures == {}, f"with the seed {seed}: {killer.did}\n{failures}\n{site.project.logs()}"
