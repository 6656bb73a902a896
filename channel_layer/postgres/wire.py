"""Statements on a connection's libpq: prepared, with parameters in the form in which the server reads them.

A cursor of psycopg finds out anew for each statement how its parameters are to be written, in Python where there are
lists, and keeps a description of each column: more work than the rest of a message takes. Here the types of parameters
are few, and each statement says itself which ones it wants.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from itertools import count
from typing import Any, TypeAlias

from psycopg import errors, generators, pq
from psycopg.abc import PQGen
from psycopg.adapt import Transformer

Rows: TypeAlias = list[tuple[Any, ...]]

Parameter: TypeAlias = str | bytes | float | Sequence[str | bytes | float | None] | None
"""Whole numbers and booleans among them; a list is of one of these types, or of ``None``."""

TEXT, BINARY = pq.Format.TEXT, pq.Format.BINARY

_PLACE = re.compile(rb"%s")
_OIDS: dict[type, int] = {bytes: 17, str: 25}
_RIGHT = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)


class Wire:
    """Statements of one connection. What runs twice is prepared then.

    Args:
        pgconn: in autocommit, so that each statement is a transaction unless one was begun.
    """

    def __init__(self, pgconn: pq.abc.PGconn) -> None:
        self._pgconn = pgconn
        self._loading = Transformer()
        self._numbers = count()
        # With numbers in place of %s, and under which name it was prepared, if it was.
        self._known: dict[str | bytes, tuple[bytes, bytes]] = {}

    def run(self, text: str | bytes, parameters: Sequence[Parameter]) -> PQGen[Rows]:
        """Run one statement, as a generator for the connection's ``wait``; its rows, if it has any.

        Args:
            text: with ``%s`` for each parameter, of which the statement makes clear what type it has. Without any,
                there may be several statements in it, and the rows are those of the last one.

        Raises:
            psycopg.Error
        """
        pgconn = self._pgconn
        if not parameters:
            pgconn.send_query(_bytes(text))
            return self._rows((yield from generators.execute(pgconn)))
        numbered, name = self._known.get(text, (b"", b""))
        if numbered and not name:
            name = b"millrace_%d" % next(self._numbers)
            pgconn.send_prepare(name, numbered)
            _checked((yield from generators.execute(pgconn)))
            self._known[text] = numbered, name
        values, formats = [], []
        for parameter in parameters:
            value, written = encoded(parameter)
            values.append(value)
            formats.append(written)
        if name:
            pgconn.send_query_prepared(name, values, formats, BINARY)
        else:
            numbers = count(1)
            numbered = _PLACE.sub(lambda _: b"$%d" % next(numbers), _bytes(text))
            self._known[text] = numbered, b""
            pgconn.send_query_params(numbered, values, None, formats, BINARY)
        return self._rows((yield from generators.execute(pgconn)))

    def _rows(self, results: Sequence[pq.abc.PGresult]) -> Rows:
        result = _checked(results)
        if not result.ntuples:
            return []
        self._loading.set_pgresult(result)
        return self._loading.load_rows(0, result.ntuples, tuple)


def _checked(results: Sequence[pq.abc.PGresult]) -> pq.abc.PGresult:
    result = results[-1]
    if result.status not in _RIGHT:
        raise errors.error_from_result(result)
    return result


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def encoded(parameter: Parameter) -> tuple[bytes | None, pq.Format]:
    """A parameter as the server reads it, and whether that is the binary format.

    >>> encoded("name"), encoded(2), encoded(None)
    ((b'name', <Format.TEXT: 0>), (b'2', <Format.TEXT: 0>), (None, <Format.TEXT: 0>))
    """
    if isinstance(parameter, str):
        return parameter.encode(), TEXT
    if isinstance(parameter, bytes):
        return parameter, BINARY
    if parameter is None:
        return None, TEXT
    if isinstance(parameter, (int, float)):
        return str(parameter).encode(), TEXT
    oid = next((_OIDS.get(type(each), 0) for each in parameter if each is not None), 0)
    if not oid:
        return b"{%s}" % ",".join("NULL" if each is None else str(each) for each in parameter).encode(), TEXT
    # The server's array_recv: dimensions, whether any is NULL, the elements' type, their number, the first one's place.
    parts = [struct.pack("!iiIii", 1, None in parameter, oid, len(parameter), 1)]
    for each in parameter:
        if each is None:
            parts.append(b"\xff\xff\xff\xff")
        else:
            data = each.encode() if isinstance(each, str) else each
            parts.append(len(data).to_bytes(4))  # type: ignore[arg-type]
            parts.append(data)  # type: ignore[arg-type]
    return b"".join(parts), BINARY
