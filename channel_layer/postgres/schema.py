"""Make the tables and functions of the layer, or find that they are there. `schema.sql` has them."""

from __future__ import annotations

import re
from importlib.resources import files

from ..exceptions import LayerConfigurationError, LayerUnusable
from .connections import Plan, Statement
from .errors import replica
from .wire import Parameter

VERSION = 2
"""Version of `schema.sql`, to be raised with every change of it."""

OLDEST_SERVER = 13

_EXISTS = (
    "EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = %s AND c.relname = 'format')"
)
"""Read from the catalog, as a look-up by name may remember that there was nothing a moment ago."""

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,30}\Z")


class Schema:
    """The schema that holds a layer's tables. Layers with different schemas know nothing of each other.

    Args:
        name: 1 to 31 lower-case letters, digits and ``_``.
        where: the database, for messages.

    Raises:
        LayerConfigurationError: the name cannot be used.
    """

    def __init__(self, name: object, where: str) -> None:
        if not isinstance(name, str) or not _NAME.match(name) or name.startswith("pg_"):
            raise LayerConfigurationError(
                f"schema must be a name of at most 31 lower-case letters, digits and '_', not {name!r}"
            )
        self.name = name
        self._where = where
        self._texts: dict[str, bytes] = {}

    def statement(self, text: str, *parameters: Parameter) -> Statement:
        """A statement on the tables and functions, whose names have ``SCHEMA.`` in front."""
        named = self._texts.get(text)
        if named is None:
            named = self._texts[text] = text.replace("SCHEMA", self.name).encode()
        return Statement(named, parameters)

    def prepare(self, announced_pid: int) -> Plan[bool]:
        """Make a connection ready, and the tables if there are none. Run it in one transaction.

        Args:
            announced_pid: the process of the server that the connection was told of.

        Returns:
            Whether a pooler such as PgBouncer is in between, which names a process of its own.

        Raises:
            LayerUnusable: the server or what lies in the schema cannot be used.
        """
        [(version, is_replica, exists)] = yield Statement(
            f"SELECT current_setting('server_version_num')::integer, pg_is_in_recovery(), {_EXISTS}",
            (self.name,),
        )
        if version < OLDEST_SERVER * 10_000:
            raise self._unusable(
                f"PostgreSQL at {self._where} is version {version // 10_000}; the channel layer needs "
                f"{OLDEST_SERVER} or newer"
            )
        if is_replica:
            raise replica(self._where)
        if not exists:
            yield Statement("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{self.name} format",))
            [(exists,)] = yield Statement(f"SELECT {_EXISTS}", (self.name,))
        if not exists:
            # IF NOT EXISTS asks for the right to create schemas even where there is one.
            if not (yield Statement("SELECT 1 FROM pg_namespace WHERE nspname = %s", (self.name,))):
                yield Statement(f'CREATE SCHEMA "{self.name}"')
            text = files(__package__).joinpath("schema.sql").read_text(encoding="utf-8")
            yield self.statement(text)
            yield self.statement(f"INSERT INTO SCHEMA.format VALUES ({VERSION})")
        rows = yield self.statement("SELECT version FROM SCHEMA.format")
        if rows != [(VERSION,)]:
            found = ", ".join(str(one) for (one,) in rows) or "none"
            raise self._unusable(
                f"the tables of the channel layer in schema {self.name} at {self._where} were made by another version "
                f"of this software (format {found}, this one has {VERSION}). Stop all processes that use them and run "
                f"DROP SCHEMA {self.name} CASCADE; they hold nothing but messages on their way. Or set another schema "
                "(CONFIG: schema)."
            )
        [(pid,)] = yield Statement("SELECT pg_backend_pid()")
        return bool(pid != announced_pid)

    def drop(self) -> Plan[None]:
        """Remove the tables and functions, the schema, and whatever else lies in it."""
        yield Statement(f'DROP SCHEMA IF EXISTS "{self.name}" CASCADE')

    def cut(self) -> Plan[int]:
        """End the connections of this user, but for this one, whose last statement was about the schema.

        Returns:
            How many there were.
        """
        # A layer's statements name the schema near their beginning, and those of its connection that listens a bell.
        [(count,)] = yield Statement(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE usename = current_user AND pid <> pg_backend_pid() AND query ~ %s",
            (rf"\m{self.name}(_[0-9a-f]{{20}})?\M",),
        )
        return int(count)

    def _unusable(self, reason: str) -> LayerUnusable:
        return LayerUnusable(self._where, reason, uncertain=False)
