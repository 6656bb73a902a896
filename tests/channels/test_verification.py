"""`channels.verification`: what is counted and judged, bad input, and a verification with real processes."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from channel_layer.postgres import PostgresChannelLayer
from channel_layer.postgres.connections import Statement
from channel_layer.rabbitmq import RabbitmqChannelLayer
from channels.verification.faults import FAULTS, Promise
from channels.verification.load import ECHO, GROUP, HOSTED, Client, Life, Load, Tally
from channels.verification.plan import VerificationError, own_part
from channels.verification.report import COLUMNS, Outcome, as_json, as_table
from tests.conftest import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent


def client(kind: str, number: int = 0) -> Client:
    return Client(kind, number, port=1)


def life_of(
    client: Client, sent: list[str], received: list[str], closed_at: float = 0.0, opened_at: float = 0.0
) -> Life:
    """One connection on which a frame was sent at 10, 11, … and each answer came half a second later."""
    life = Life(f"/{client.kind}/{len(client.lives)}")
    life.since, life.until = opened_at, closed_at
    life.sent = {text: 10.0 + number for number, text in enumerate(sent)}
    life.received = [(text, life.sent.get(text, 10.0) + 0.5) for text in received]
    client.lives.append(life)
    return life


def tally_of(*clients: Client, told: list[str] | None = None) -> Tally:
    load = Load([1], 1, 1)
    load.clients = list(clients)
    life_of(load.watcher, [], told or [])
    return load.tally()


def test_answers_that_are_all_there() -> None:
    echo = client(ECHO)
    life_of(echo, ["0:0", "0:1"], ["0:0", "0:1"])
    assert tally_of(echo) == Tally(clients=1, sent=2, pause=0.5)


def test_answers_that_are_lost_doubled_and_out_of_order() -> None:
    echo = client(ECHO)
    life_of(echo, ["0:0", "0:1", "0:2", "0:3"], ["0:0", "0:3", "0:2", "0:2"])
    tally = tally_of(echo)
    assert (tally.sent, tally.lost, tally.doubled, tally.reordered, tally.cut) == (4, 1, 1, 1, 0)


@pytest.mark.parametrize(("received", "is_owed"), [([], True), (["0:0"], True), (["0:1"], False)])
def test_what_was_lost_before_the_last_answer_is_not_waited_for(received: list[str], is_owed: bool) -> None:
    echo = client(ECHO)
    life_of(echo, ["0:0", "0:1"], received)
    echo._connection = cast(Any, object())
    assert echo.is_owed is is_owed


def test_frames_that_wait_when_a_connection_is_closed_are_no_loss_and_its_end_is_told_once() -> None:
    echo = client(ECHO)
    once, never, twice = (life_of(echo, [f"0:{number}"], [], closed_at=20) for number in range(3))
    once.code = 1012
    tally = tally_of(echo, told=[once.path, twice.path, twice.path])
    assert (tally.lost, tally.cut, tally.closed) == (0, 3, Counter({1012: 1, 1006: 2}))
    assert tally.left == (1, 1, 1), never.path


def test_an_instance_that_forgets() -> None:
    hosted = client(HOSTED)
    life_of(hosted, ["0:0"], ["0:0"]).counts = [1, 2, 1, 2, 3]
    assert tally_of(hosted).forgotten == 1


def test_what_a_group_hears() -> None:
    speaker, member, late = (client(GROUP, number) for number in range(3))
    life_of(speaker, ["0:0", "0:1", "0:2"], ["0:0", "0:2"])
    life_of(member, [], ["0:0"])
    life_of(late, [], ["0:2"], opened_at=10.5)  # not sure of 0:1, which was sent half a second later
    tally = tally_of(speaker, member, late)
    # 0:1 is one frame that nobody heard, and 0:2 did not get to one member.
    assert (tally.sent, tally.lost, tally.doubled, tally.reordered) == (3, 2, 0, 0)


@pytest.mark.parametrize(
    ("tally", "words"),
    [
        (Tally(lost=1), "1 lost"),
        (Tally(doubled=2), "2 came twice"),
        (Tally(reordered=3), "3 came out of order"),
        (Tally(forgotten=1), "1 instances lost their state"),
        (Tally(closed=Counter({1006: 4})), "4 WebSockets closed"),
        (Tally(pages=Counter({200: 9, 503: 1, 0: 1})), "2 requests failed"),
        (Tally(pause=2.5), "2.5 s without an answer"),
        (Tally(left=(1, 0, 0)), "not told of 1 WebSockets"),
        (Tally(left=(0, 1, 2)), "told of 2 WebSockets more than once"),
    ],
)
def test_each_promise_that_is_broken_is_named(tally: Tally, words: str) -> None:
    (broken,) = Promise().broken_by(tally, patience=1)
    assert words in broken


def test_a_promise_that_allows_more() -> None:
    promise = Promise(lost=1, closes=True, fails=True, seconds=3, forgets=True)
    tally = Tally(
        clients=1, lost=1, closed=Counter({1012: 1}), pages=Counter({503: 1}), pause=5, forgotten=1, left=(0, 1, 0)
    )
    assert promise.broken_by(tally, patience=2) == []
    assert len(promise.broken_by(tally, patience=1)) == 1


def test_the_report_has_each_figure_and_json_the_same() -> None:
    tally = Tally(sent=7, lost=6, closed=Counter({1012: 5}), pages=Counter({200: 4, 0: 1}), pause=0.125, left=(0, 5, 0))
    good, bad = Outcome(FAULTS[0], Tally(), patience=1), Outcome(FAULTS[1], tally, patience=1)
    lines = as_table([good, bad]).splitlines()
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == list(COLUMNS)
    assert [cell.strip() for cell in lines[3].strip("|").split("|")] == [
        FAULTS[1].name, "7", "6", "0", "0", "0", "0", "5 with 1012", "1 without answer, 4 200", "0.12 s",
    ]  # fmt: skip
    found = json.loads(as_json([good, bad], "a layer"))
    assert (found["ok"], found["layer"], [fault["ok"] for fault in found["faults"]]) == (
        False,
        "a layer",
        [True, False],
    )
    assert found["faults"][1]["closed"] == {"1012": 5}


REDIS = {"default": {"BACKEND": "channel_layer.redis.RedisChannelLayer", "ROUTING": []}}
CLUSTER = {"default": {"BACKEND": "channel_layer.redis.RedisClusterChannelLayer", "ROUTING": []}}
POSTGRES = {
    "default": {
        "BACKEND": "channel_layer.postgres.PostgresChannelLayer",
        "CONFIG": {"dsn": "postgresql://me:do-not-tell@127.0.0.1:1/none"},
        "ROUTING": [],
    }
}
MEMORY = {"default": {"BACKEND": "channel_layer.memory.MemoryChannelLayer", "ROUTING": []}}


@pytest.mark.parametrize(
    ("layers", "options", "words"),
    [
        (REDIS, {"sockets": 1}, "--sockets must be 2 or more"),
        (REDIS, {"rate": 0}, "--rate must be more than 0"),
        (REDIS, {"patience": 0.5}, "--patience must be 1 or more"),
        (REDIS, {"only": ["fire"]}, "there is no fault 'fire'; there are none, restart-worker"),
        (REDIS, {"only": ["cut-broker"]}, "so it needs --own-redis"),
        (CLUSTER, {"own_redis": True}, "--own-redis starts a server in no cluster"),
        (MEMORY, {"own_redis": True}, "--own-redis is for Redis layers"),
        (POSTGRES, {"own_redis": True}, "--own-redis is for Redis layers"),
        (POSTGRES, {"only": ["restart-broker"]}, "which is not done to PostgreSQL"),
        (POSTGRES, {"only": ["none"]}, "no schema was made for the verification alone: .*127.0.0.1:1/none"),
        (REDIS, {"layer": "other"}, "there is no channel layer 'other'"),
        (MEMORY, {"only": ["none"]}, "reaches no further than one process"),
    ],
)
def test_bad_input_gets_a_sentence(layers: Any, options: dict[str, Any], words: str) -> None:
    with override_settings(CHANNEL_LAYERS=layers), pytest.raises(CommandError, match=words):
        call_command("millrace", "verify", stderr=io.StringIO(), **options)


COMMAND = [sys.executable, "manage.py", "millrace", "verify", "--sockets", "2", "--patience", "10", "--json"]


def demo_environment(directory: Path) -> dict[str, str]:
    """The demo's settings, which name the SQLite layer unless something is added."""
    unset = {"REDIS_URL": "", "CHANNEL_FILE": str(directory / "layer"), "DATABASE_PATH": str(directory / "db.sqlite3")}
    return os.environ | {"DJANGO_SETTINGS_MODULE": "demo.settings"} | unset


def verified(directory: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with the settings of the demo."""
    return subprocess.run(
        [*COMMAND, "--logs", str(directory), *arguments],
        cwd=ROOT,
        env=demo_environment(directory) | environment,
        capture_output=True,
        text=True,
        timeout=150,
    )


def only_fault(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert result.returncode == 0, result.stderr + result.stdout
    (fault,) = json.loads(result.stdout)["faults"]
    assert fault["sent"] > 20
    assert (fault["doubled"], fault["reordered"], fault["closed"]) == (0, 0, {})
    return cast(dict[str, Any], fault)


def schemas(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        return {name for (name,) in connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ 'verify'")}


@pytest.fixture
def project_dsn(postgres_dsn: str) -> Iterator[str]:
    """A database of the project, in which nothing of a verification is left."""
    name = f"project_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_dsn, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        dsn = f"{postgres_dsn.rpartition('/')[0]}/{name}"
        yield dsn
        assert schemas(dsn) == set()
        with psycopg.connect(dsn) as connection:
            # The demo's own layer would have made this.
            assert connection.execute("SELECT to_regnamespace('millrace')").fetchall() == [(None,)]
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.slow
@pytest.mark.parametrize("broker", ["sqlite", "redis", "postgres", "rabbitmq"])
def test_a_deploy_under_load(tmp_path: Path, broker: str, request: pytest.FixtureRequest) -> None:
    environment, arguments = {}, []
    if broker == "redis":
        if not shutil.which("redis-server"):
            pytest.fail("redis-server is missing; scripts/test-needs installs it")
        environment, arguments = {"REDIS_URL": "redis://127.0.0.1:1/0"}, ["--own-redis"]
    elif broker == "postgres":
        environment = {"POSTGRES_DSN": request.getfixturevalue("project_dsn")}
    elif broker == "rabbitmq":
        environment = {"RABBITMQ_URL": request.getfixturevalue("rabbitmq_url")}
    fault = only_fault(verified(tmp_path, environment, "--only", "restart-worker", *arguments))
    assert fault["lost"] == 0
    assert set(fault["requests"]) == {"200"}


@pytest.mark.slow
def test_connections_to_postgresql_are_cut_and_nobody_else_s(tmp_path: Path, project_dsn: str) -> None:
    with psycopg.connect(project_dsn) as somebody:
        somebody.execute("SELECT 1")
        only_fault(verified(tmp_path, {"POSTGRES_DSN": project_dsn}, "--only", "cut-broker"))
        somebody.execute("SELECT 1")
    logs = "".join(path.read_text() for path in (tmp_path / "cut-broker").iterdir())
    assert "Trying again" in logs


def test_a_verification_that_fails_leaves_no_schema(tmp_path: Path, project_dsn: str) -> None:
    (tmp_path / "broken").mkdir()
    # They work for the command and not for the processes that it starts.
    (tmp_path / "broken" / "settings.py").write_text(
        "import os\nfrom demo.settings import *\nassert 'MILLRACE_VERIFY' not in os.environ\n"
    )
    environment = {"POSTGRES_DSN": project_dsn, "DJANGO_SETTINGS_MODULE": "broken.settings"}
    result = verified(tmp_path, environment | {"PYTHONPATH": str(tmp_path)}, "--only", "none")
    assert result.returncode == 1
    assert "ended: AssertionError" in result.stderr


@pytest.mark.slow
def test_a_verification_that_is_stopped_leaves_no_schema_and_no_process(tmp_path: Path, project_dsn: str) -> None:
    environment = demo_environment(tmp_path) | {"POSTGRES_DSN": project_dsn}
    command = [*COMMAND, "--only", "none", "--logs", str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        log = tmp_path / "none" / "web-4.log"
        wait_until(
            lambda: run.poll() is not None or (log.exists() and "Listening on" in log.read_text()), "a web server"
        )
        run.terminate()
        assert run.wait(120) == 143
    with psycopg.connect(project_dsn) as connection:
        left = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '_verify_' AND pid <> pg_backend_pid()"
        wait_until(lambda: connection.execute(left).fetchone() == (0,), "nobody to be connected")


def test_a_part_is_a_schema_of_its_own_with_a_name_that_postgresql_takes(
    postgres_dsn: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "demo.settings")
    config = {"dsn": postgres_dsn, "schema": "a_name_of_thirty_one_characters"}
    with override_settings(CHANNEL_LAYERS={"default": {**POSTGRES["default"], "CONFIG": config}}):
        with own_part("default") as part:
            (name,) = schemas(postgres_dsn)
            assert json.loads(part.plan)["own"] == {"schema": name}
            assert name.startswith("a_name_of_thirt_verify_")
            assert part.cut is not None
            with pytest.raises(VerificationError, match=r"no connection to PostgreSQL at .* was found to be cut"):
                part.cut()
            assert postgres_dsn not in part.plan
        assert schemas(postgres_dsn) == set()
        with monkeypatch.context() as patch, own_part("default"):
            (name,) = schemas(postgres_dsn)
            patch.setattr(PostgresChannelLayer, "drop", lambda layer: layer._driver.run(refuse))
        assert f"remove it with DROP SCHEMA {name} CASCADE." in caplog.text
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(f"DROP SCHEMA {name} CASCADE")


def refuse() -> Iterator[Statement]:
    yield Statement("SELECT * FROM nothing_of_this_name")


def test_a_part_of_rabbitmq_has_a_prefix_of_its_own_and_leaves_no_queue(
    rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "demo.settings")
    config = {"url": rabbitmq_url, "prefix": "a-prefix-of-many-letters-and-a-colon:"}
    entry = {"BACKEND": "channel_layer.rabbitmq.RabbitmqChannelLayer", "CONFIG": config}
    with override_settings(CHANNEL_LAYERS={"default": {**POSTGRES["default"], **entry}}), ExitStack() as stack:
        with own_part("default") as part:
            prefix = json.loads(part.plan)["own"]["prefix"]
            assert prefix.startswith("a-prefix-of-many-let-verify-")
            layer = stack.enter_context(closing(RabbitmqChannelLayer(rabbitmq_url, prefix=prefix)))
            layer.send("work", {"n": 1})
            assert rabbitmq_url not in part.plan
        assert layer.receive(["work"]) == (None, None)
