"""The dataset in PostgreSQL, for several engines that record together: a table of attempts and one of runs.

The tables are made from the rows' own definition: every column has its proper type, the context and the
features are `jsonb`, and what identifies a row is the primary key, so that writing twice keeps the first
(`ON CONFLICT DO NOTHING`). A batch is one transaction. Text that PostgreSQL cannot hold (the character 0) is
written with U+FFFD in its place; the recorder never gives any.

A password is in no message: of a connection only host, port and database are ever named, and of what the
driver says only its first line, without the password should it be in there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from enum import StrEnum
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    LiteralString,
    NamedTuple,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from sagacity_data.errors import DatasetRefused
from sagacity_data.redaction import storable
from sagacity_data.rows import AttemptRow, Row, RunRow
from sagacity_data.sinks.port import RowRefused
from sagacity_data.sinks.row_texts import row_from

if TYPE_CHECKING:
    import psycopg

TABLES: Final[Mapping[type[Row], str]] = {AttemptRow: "sagacity_attempts", RunRow: "sagacity_runs"}
CONNECT_TIMEOUT_S: Final = 10
STATEMENT_TIMEOUT_MS: Final = 60_000

_KEYS: Final[Mapping[type[Row], tuple[str, ...]]] = {
    AttemptRow: ("run_id", "step", "direction", "attempt"),
    RunRow: ("run_id",),
}
_TYPES: Final[Mapping[Any, str]] = {
    str: "text",
    int: "bigint",
    float: "double precision",
    bool: "boolean",
    Mapping: "jsonb",
}
_BIGINT: Final = 2**63
_EXACT: Final = (
    1e16  # From here on Python writes a float with an exponent, which jsonb would turn into a whole number.
)
_MAKING: Final = 0x5A6AC174  # Sinks that start together make the tables one after the other.

R = TypeVar("R", AttemptRow, RunRow)
Connect = Callable[[], "psycopg.Connection[Any]"]


class PostgresSink:
    """The dataset in the database that `conninfo` names (a libpq connection string or URL), or that `connect`
    connects to. Tables are made in the first schema of the search path when something is first written.

    A lost connection is made again by the next call. Every method raises `DatasetRefused` when the server
    cannot be reached or does not do its part, or when the tables are not ours.
    """

    def __init__(self, conninfo: str = "", *, connect: Connect | None = None) -> None:
        self._place, self._secret = _place_and_secret(conninfo)
        self._connect = connect or (lambda: _connected(conninfo))
        self._connection: psycopg.Connection[Any] | None = None

    def write(self, rows: Sequence[Row]) -> None:
        """Keeps the rows, all of them or none; they are committed when it returns."""
        lines: dict[type[Row], list[list[object]]] = {AttemptRow: [], RunRow: []}
        for row in rows:
            lines[type(row)].append(_values(row))
        with self._transaction() as connection, connection.cursor() as cursor:
            for kind, values in lines.items():
                if values:
                    cursor.executemany(_STATEMENTS[kind].insert, values)

    def read(self, since: float | None = None, until: float | None = None) -> list[Row]:
        """Attempts, then runs, of launches in [since, until), seconds since 1970, by launch, run and start.

        Rows without a launch time are read only when neither bound is given.
        """
        return [*self.read_attempts(since, until), *self.read_runs(since, until)]

    def read_attempts(self, since: float | None = None, until: float | None = None) -> list[AttemptRow]:
        """The attempts of those."""
        return self._read(AttemptRow, since, until)

    def read_runs(self, since: float | None = None, until: float | None = None) -> list[RunRow]:
        """The runs of those."""
        return self._read(RunRow, since, until)

    def recorded(self) -> set[str]:
        """The runs whose own row is here."""
        with self._transaction() as connection:
            return {run_id for (run_id,) in connection.execute("SELECT run_id FROM sagacity_runs")}

    def forget(self, *, run_ids: Sequence[str] = (), tenant: str | None = None) -> int:
        """Deletes the rows of these runs, and of this tenant; how many there were."""
        gone = 0
        with self._transaction() as connection:
            for kind in TABLES:
                deleting = _STATEMENTS[kind].delete
                gone += connection.execute(deleting, (list(run_ids), tenant)).rowcount
        return gone

    def close(self) -> None:
        """Ends the connection; a later call makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _read(self, kind: type[R], since: float | None, until: float | None) -> list[R]:
        statements = _STATEMENTS[kind]
        asked = {"since": since, "until": until}
        with self._transaction() as connection:
            found = connection.execute(statements.select, asked).fetchall()
        return [row_from(kind, dict(zip(statements.names, values, strict=True))) for values in found]

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection[Any]]:
        with self._refusals():
            if self._connection is None or self._connection.closed:
                self._connection = self._prepared(self._connect())
            with self._connection.transaction():
                yield self._connection

    def _prepared(self, connection: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
        try:
            connection.autocommit = True
            connection.execute(
                "SELECT set_config('statement_timeout', %s, false)", (str(STATEMENT_TIMEOUT_MS),)
            )
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MAKING,))
                for kind in TABLES:
                    self._make(connection, kind)
        except BaseException:
            connection.close()
            raise
        return connection

    def _make(self, connection: psycopg.Connection[Any], kind: type[Row]) -> None:
        statements = _STATEMENTS[kind]
        for statement in statements.create:
            connection.execute(statement)
        found = connection.execute(_COLUMNS_OF, (TABLES[kind],)).fetchall()
        if not set(statements.columns) <= set(found):
            raise DatasetRefused(
                f"{self._place} has a table {TABLES[kind]!r} of something else, or of another version; "
                "drop it, or put another schema first in the search path"
            )

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.Error as problem:
            told = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
            if self._secret:
                told = told.replace(self._secret, "***")
            if isinstance(problem, psycopg.OperationalError | psycopg.InterfaceError):
                with suppress(psycopg.Error):
                    self.close()
            raise DatasetRefused(
                f"{self._place}: {told}; look at the server and the rights there, and write again"
            ) from None


_COLUMNS_OF: Final = (
    "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute "
    "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
)


class _Statements(NamedTuple):
    """What is asked of the table of one kind of row, and its columns with their types."""

    names: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    create: tuple[LiteralString, ...]
    insert: LiteralString
    select: LiteralString
    delete: LiteralString


def _statements_of(kind: type[Row]) -> _Statements:
    """Put together from the fields of our own dataclass, which nobody outside can name."""
    hints, table = get_type_hints(kind), TABLES[kind]
    names = tuple(field.name for field in fields(kind))
    columns = tuple((name, _column(hints[name])[0]) for name in names)
    made = ", ".join(f"{name} {column}{_column(hints[name])[1]}" for name, column in columns)
    marks = ", ".join("%s::jsonb" if column == "jsonb" else "%s" for _, column in columns)
    order = "launch_at NULLS FIRST, run_id" + (
        ", rank NULLS LAST, step, direction, attempt" * (kind is AttemptRow)
    )
    select = (
        f"SELECT {', '.join(names)} FROM {table} "  # noqa: S608  our constants
        "WHERE (%(since)s::float8 IS NULL OR launch_at >= %(since)s) "
        f"AND (%(until)s::float8 IS NULL OR launch_at < %(until)s) ORDER BY {order}"
    )
    texts = (
        f"CREATE TABLE IF NOT EXISTS {table} ({made}, PRIMARY KEY ({', '.join(_KEYS[kind])}))",
        f"CREATE INDEX IF NOT EXISTS {table}_by_launch ON {table} (launch_at)",
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks}) ON CONFLICT DO NOTHING",  # noqa: S608  our constants
        select,
        f"DELETE FROM {table} WHERE run_id = ANY(%s) OR tenant = %s::text",  # noqa: S608  our constants
    )
    table_text, index_text, insert, reading, delete = cast(tuple[LiteralString, ...], texts)
    return _Statements(names, columns, (table_text, index_text), insert, reading, delete)


def _column(hint: Any) -> tuple[str, str]:
    """A column's type, and whether it may be empty."""
    if get_origin(hint) is UnionType:
        (inner,) = (option for option in get_args(hint) if option is not NoneType)
        return _column(inner)[0], ""
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return "text", " NOT NULL"
    return _TYPES[get_origin(hint) or hint], " NOT NULL"


_STATEMENTS: Final = {kind: _statements_of(kind) for kind in TABLES}


def _values(row: Row) -> list[object]:
    try:
        return [_value(getattr(row, name)) for name in _STATEMENTS[type(row)].names]
    except (TypeError, ValueError) as problem:
        raise RowRefused(row, problem) from None


def _value(value: object) -> object:
    if isinstance(value, str):
        return storable(str(value))
    if isinstance(value, Mapping):
        return _jsonb(value)
    if isinstance(value, int) and not -_BIGINT <= value < _BIGINT:
        raise ValueError(f"{value:.3e} is too large a number")
    return value


def _jsonb(mapping: Mapping[str, Any]) -> str:
    """The mapping as JSON text of which jsonb gives back equal values of the same types."""
    return (
        "{" + ",".join(f"{json.dumps(storable(key))}:{_json(value)}" for key, value in mapping.items()) + "}"
    )


def _json(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(storable(value))
    if isinstance(value, float) and _EXACT <= abs(value) < math.inf:
        return f"{value:.1f}"
    return json.dumps(value, allow_nan=False)


def _connected(conninfo: str) -> psycopg.Connection[Any]:
    import psycopg

    return psycopg.connect(conninfo, connect_timeout=CONNECT_TIMEOUT_S)


def _place_and_secret(conninfo: str) -> tuple[str, str]:
    """Where it is, for messages, and the password that must be in none. Raises `DatasetRefused`."""
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict
    except ModuleNotFoundError:
        raise DatasetRefused("PostgreSQL needs a driver; pip install 'sagacity[postgres]'") from None
    try:
        told = conninfo_to_dict(conninfo)
    except ProgrammingError:  # Its message repeats what it could not read, which may be the password.
        raise DatasetRefused(
            "the connection string of PostgreSQL cannot be read; give 'host=... dbname=... user=...' or a URL"
        ) from None
    parts = [f"{name}={told[name]}" for name in ("host", "port", "dbname") if told.get(name)]
    place, secret = " ".join(["PostgreSQL", *parts]), str(told.get("password") or "")
    return place.replace(secret, "***") if secret else place, secret
