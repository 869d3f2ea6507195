"""Statements that every commit runs, compiled once.

SQLAlchemy takes longer to find a compiled statement again than SQLite takes to run it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, CursorResult, Dialect, Table, insert, text


class Insert:
    """The statement that inserts rows of a table.

    Args:
        table: all its columns are written.
        dialect: of the database.
    """

    def __init__(self, table: Table, dialect: Dialect) -> None:
        columns = list(table.columns)
        compiled = insert(table).values({c.name: None for c in columns}).compile(dialect=dialect)
        self.statement = str(compiled)
        self._positional: list[str] | None = compiled.positiontup
        self._processors = {
            c.name: processor
            for c in columns
            if (processor := c.type.dialect_impl(dialect).bind_processor(dialect))
        }

    def parameters(self, row: dict[str, Any]) -> Any:
        """A row as the driver takes it."""
        for name, process in self._processors.items():
            row[name] = process(row[name])
        return tuple([row[n] for n in self._positional]) if self._positional else row


class Statement:
    """A statement with named parameters.

    Args:
        sql: portable; parameters as `:name`.
        dialect: of the database.
    """

    def __init__(self, sql: str, dialect: Dialect) -> None:
        compiled = text(sql).compile(dialect=dialect)
        self._sql = str(compiled)
        self._positional: list[str] | None = compiled.positiontup

    def run(self, connection: Connection, **values: Any) -> CursorResult[Any]:
        """Run it."""
        said = tuple(values[n] for n in self._positional) if self._positional else values
        return connection.exec_driver_sql(self._sql, said or None)
