"""The rounds: every peer is started, and they are measured in turns."""

from __future__ import annotations

from contextlib import ExitStack

from .environments import OWN
from .machine import describe
from .peers import OURS, Peer
from .report import Results, Setting, figure_text
from .stack import RoundError, Stack, StackError
from .works import Work, measure

WARM_UP_SECONDS = 1.5


def estimate(peers: list[Peer], works: list[Work], studies: list[str], setting: Setting) -> float:
    """Estimate the seconds that everything takes on two cores, with what a round takes beside its measured time."""
    pairs = [(work, peer) for work in works for peer in peers if work.kind in peer.kinds]
    around = sum(3.5 if work.kind == "group" else 1.0 for work, _ in pairs)
    each = min(setting.seconds, WARM_UP_SECONDS) + setting.rounds * setting.seconds
    return (
        len(pairs) * each
        + (setting.rounds + 1) * around
        + len(studies) * (14.0 + setting.rounds * (7.0 + 3.0 * setting.seconds))
    )


def run(peers: list[Peer], works: list[Work], setting: Setting) -> Results:
    """Start all peers and measure them in turns: A B C, A B C, … after one warm-up round each.

    A peer that does not start is left out, and a round that fails is noted; a peer is not tried again at a work it
    failed at. Nothing is started if there is no work.

    Raises:
        StackError: Millrace did not start.
    """
    environments = list(dict.fromkeys([OWN, *(peer.environment for peer in peers)]))
    results = Results(describe(environments), setting.seconds, works, list(peers))
    with ExitStack() as running:
        stacks = _started(results, setting, running) if works else []
        for work in works:
            for number in range(setting.rounds + 1):
                for stack in stacks:
                    if work.kind in stack.peer.kinds:
                        _round(results, stack, work, number, setting)
    return results


def _started(results: Results, setting: Setting, running: ExitStack) -> list[Stack]:
    stacks = []
    for peer in list(results.peers):
        try:
            stacks.append(running.enter_context(Stack(peer)))
        except StackError as error:
            if peer.name == OURS:
                raise
            setting.tell(f"{peer.title} is left out: {error}")
            results.peers.remove(peer)
            results.left_out[peer.name] = str(error)
    return stacks


def _round(results: Results, stack: Stack, work: Work, number: int, setting: Setting) -> None:
    if results.failures.get(work.title, {}).get(stack.peer.name):
        return  # once is enough: a peer that cannot do it would stall every round
    seconds = setting.seconds if number else min(setting.seconds, WARM_UP_SECONDS)
    try:
        sample = measure(stack, work, seconds)
    except (RoundError, StackError) as error:
        setting.tell(f"{work.title}, {stack.peer.title}: failed: {error}")
        results.fail(work.title, stack.peer.name, str(error))
    else:
        value = figure_text(work, sample.p50 if work.latency else sample.rate)
        setting.tell(f"{work.title}, {stack.peer.title}, {f'round {number}' if number else 'warm-up'}: {value}")
        if number:
            results.add(work, stack.peer, sample)
    stack.settle()
