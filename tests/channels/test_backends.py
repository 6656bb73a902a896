"""`channels.backends`: from an entry of CHANNEL_LAYERS to a layer."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.memory import MemoryChannelLayer
from channel_layer.postgres import PostgresChannelLayer
from channel_layer.rabbitmq import RabbitmqChannelLayer
from channel_layer.redis import RedisChannelLayer, RedisSentinelChannelLayer
from channel_layer.sqlite import SqliteChannelLayer
from channels.backends import InvalidChannelLayerError, backend_class, make_layer

MEMORY = "channel_layer.memory.MemoryChannelLayer"


def made(**config: Any) -> Any:
    return make_layer("default", config, config.get("CONFIG"))


def error_of(**config: Any) -> str:
    with pytest.raises(InvalidChannelLayerError) as caught:
        made(**config)
    return str(caught.value)


class Strict:
    """A backend of somebody else's that names its options."""

    def __init__(self, size: int) -> None:
        if size > 10:
            raise ValueError("size is too large")
        self.size = size


class Lenient:
    """One that takes any option."""

    def __init__(self, **options: Any) -> None:
        self.options = options


HERE = "tests.channels.test_backends"


@pytest.mark.parametrize(
    ("old", "options", "new"),
    [
        ("asgi_redis.RedisChannelLayer", {"hosts": [("localhost", 6379)], "prefix": "x:"}, RedisChannelLayer),
        (
            "asgi_redis.core.RedisChannelLayer",
            {"hosts": ["redis://localhost:6379/0"], "stats_prefix": "x:"},
            RedisChannelLayer,
        ),
        (
            "asgi_redis.RedisSentinelChannelLayer",
            {
                "hosts": [("localhost", 26379)],
                "services": ["one"],
                "stats_prefix": "s:",
                "sentinel_refresh_interval": 5,
            },
            RedisSentinelChannelLayer,
        ),
        ("asgi_rabbitmq.RabbitmqChannelLayer", {"url": "amqp://one:5672/%2F", "expiry": 30}, RabbitmqChannelLayer),
        (
            "channels_rabbitmq.core.RabbitmqChannelLayer",
            {"host": "amqp://one/asgi", "local_capacity": 100, "remote_capacity": 50, "groups_exchange": "groups"},
            RabbitmqChannelLayer,
        ),
        ("asgiref.inmemory.ChannelLayer", {"capacity": 3, "channel_capacity": {"a.*": 1}}, MemoryChannelLayer),
        ("asgi_ipc.IPCChannelLayer", {"prefix": "mine", "channel_memory": 1_000_000}, SqliteChannelLayer),
    ],
)
def test_backends_of_channels_1_stand_for_ours(old: str, options: dict[str, Any], new: type) -> None:
    layer = made(BACKEND=old, CONFIG=options)
    assert type(layer) is new
    layer.close()


def test_a_backend_that_is_not_there() -> None:
    assert error_of(BACKEND="nowhere.Layer") == (
        "CHANNEL_LAYERS['default']: BACKEND 'nowhere.Layer' cannot be imported: No module named 'nowhere'"
    )


def test_an_option_that_does_not_exist_is_named_with_those_that_do() -> None:
    text = error_of(BACKEND=MEMORY, CONFIG={"capacty": 5})
    assert "CONFIG has no option 'capacty'; MemoryChannelLayer takes capacity, channel_capacity, clock" in text


def test_an_option_that_cannot_work() -> None:
    assert error_of(BACKEND=MEMORY, CONFIG={"expiry": -1}) == (
        "CHANNEL_LAYERS['default']: CONFIG does not work: expiry must be a number above 0, not -1"
    )


def test_the_error_is_one_that_commands_and_old_code_catch() -> None:
    assert issubclass(InvalidChannelLayerError, LayerConfigurationError)
    assert issubclass(InvalidChannelLayerError, ValueError)
    again = pickle.loads(pickle.dumps(InvalidChannelLayerError("a", "reason")))
    assert str(again) == "CHANNEL_LAYERS['a']: reason"


@pytest.mark.parametrize("backend", [None, "", 5])
def test_a_missing_backend_shows_what_one_looks_like(backend: Any) -> None:
    text = error_of(BACKEND=backend)
    assert text.startswith("CHANNEL_LAYERS['default']: BACKEND is missing; set it to a dotted path, for example 'chan")


def test_a_class_is_found_by_its_path() -> None:
    assert backend_class("default", {"BACKEND": MEMORY}) is MemoryChannelLayer


def test_options_of_foreign_backends_are_checked_as_far_as_they_are_known() -> None:
    assert made(BACKEND=f"{HERE}.Strict", CONFIG={"size": 3}).size == 3
    assert made(BACKEND=f"{HERE}.Lenient", CONFIG={"any": 1}).options == {"any": 1}
    assert error_of(BACKEND=f"{HERE}.Strict", CONFIG={"sizes": 3}).endswith("no option 'sizes'; Strict takes size")
    assert error_of(BACKEND=f"{HERE}.Strict", CONFIG={"size": 11}).endswith("does not work: size is too large")
    assert "missing 1 required positional argument: 'size'" in error_of(BACKEND=f"{HERE}.Strict")


@pytest.mark.parametrize("options", [["hosts"], "redis://localhost"])
def test_options_that_are_no_dict_are_refused(options: Any) -> None:
    text = error_of(BACKEND=MEMORY, CONFIG=options)
    assert text == f"CHANNEL_LAYERS['default']: CONFIG is a dict of options, not {type(options).__name__}"


def test_the_options_given_are_left_as_they_are() -> None:
    options = {"prefix": "mine", "channel_memory": 1}
    made(BACKEND="asgi_ipc.IPCChannelLayer", CONFIG=options).close()
    assert options == {"prefix": "mine", "channel_memory": 1}


def test_an_error_may_have_one_argument_as_in_channels_4() -> None:
    error = InvalidChannelLayerError("no such thing")
    assert (error.alias, error.reason, str(error)) == (None, "no such thing", "no such thing")
    assert str(pickle.loads(pickle.dumps(error))) == "no such thing"


POSTGRES = "channel_layer.postgres.PostgresChannelLayer"
OF_DJANGO = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "project",
        "USER": "me",
        "PASSWORD": "do not'tell",
        "HOST": "db",
        "PORT": "5433",
        "OPTIONS": {"sslmode": "require", "pool": True, "isolation_level": 4},
    },
    "file": {"ENGINE": "django.db.backends.sqlite3", "NAME": "x"},
}


@pytest.mark.parametrize("config", [{}, {"CONFIG": {"database": "default", "schema": "own"}}])
def test_a_layer_in_the_database_of_the_project(monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]) -> None:
    monkeypatch.setattr(settings, "DATABASES", OF_DJANGO)
    layer = made(BACKEND=POSTGRES, **config)
    assert isinstance(layer, PostgresChannelLayer)
    assert layer.describe().startswith("PostgreSQL at db:5433/project, schema ")
    assert conninfo_to_dict(layer._server.conninfo) == {
        "dbname": "project", "user": "me", "password": "do not'tell", "host": "db", "port": "5433",
        "sslmode": "require",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"database": "other"}, "DATABASES has no entry 'other' (database); there are 'default', 'file'"),
        ({"database": ["default"]}, "DATABASES has no entry ['default']"),
        ({"database": "file"}, "DATABASES['file'] is not a PostgreSQL database"),
        ({"database": "default", "dsn": "dbname=x"}, "CONFIG has both dsn and database; give one of them"),
        ({"dsn": "dbname=x", "schema": "Bad Name"}, "schema must be a name of at most 31 lower-case letters"),
        ({"dsn": "nonsense=do-not-tell"}, "dsn is not a PostgreSQL address"),
        ({"hosts": ["x"]}, "has no option 'hosts'"),
    ],
)
def test_a_database_that_cannot_be_meant(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], words: str) -> None:
    monkeypatch.setattr(settings, "DATABASES", OF_DJANGO)
    error = error_of(BACKEND=POSTGRES, CONFIG=options)
    assert words in error
    assert "tell" not in error
