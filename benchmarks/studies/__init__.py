"""Studies: measurements that are more than a rate beside the peers. Each returns one section of the report."""

from __future__ import annotations

from collections.abc import Callable

from ..report import Section, Setting
from . import connections, groups, idle, layers, payloads, redeploy, servers, takeover, traffic, workers

STUDIES: dict[str, Callable[[Setting], Section]] = {
    "workers": workers.study,
    "connections": connections.study,
    "groups": groups.study,
    "servers": servers.study,
    "payloads": payloads.study,
    "redeploy": redeploy.study,
    "takeover": takeover.study,
    "sqlite": layers.sqlite,
    "postgres": layers.postgres,
    "rabbitmq": layers.rabbitmq,
    "idle": idle.study,
    "traffic": traffic.study,
}
"""All of them, by the name the command knows them by, in the order of the report.

Each starts and stops its own processes. It raises `RoundError` if an answer was wrong or did not come, `StackError`
if a process did not start or ended, and `MissingError` if something has to be installed.
"""
