# SPDX-License-Identifier: MIT
"""A DB-API driver without a database: every statement gives one row, "FAIL" in it an error."""

from typing import Any

apilevel, threadsafety, paramstyle = "2.0", 1, "format"
__version__ = "99.9.9"


class Error(Exception):
    """As psycopg2's errors: SQLSTATE in an attribute, and the values in the message."""

    pgcode = "42P01"


class Warning(Error):
    pass


class InterfaceError(Error):
    pass


class DatabaseError(Error):
    pass


class OperationalError(DatabaseError):
    pass


class ProgrammingError(DatabaseError):
    pass


IntegrityError = InternalError = NotSupportedError = DataError = DatabaseError


class Cursor:
    description: Any = None
    rowcount = 1
    arraysize = 1
    lastrowid = 1

    def execute(self, statement: str, parameters: Any = None) -> None:
        self.description = [("one", None, None, None, None, None, None)]
        self.rows = [(1,)]
        if "FAIL" in statement:
            raise ProgrammingError(f"relation 'hush-driver' does not exist\nLINE 1: {statement}")

    def executemany(self, statement: str, parameters: Any) -> None:
        self.execute(statement)
        self.rowcount = len(parameters)

    def fetchone(self) -> Any:
        return self.rows.pop() if self.rows else None

    def fetchall(self) -> Any:
        rows, self.rows = self.rows, []
        return rows

    fetchmany = fetchall

    def close(self) -> None:
        pass


class Connection:
    def cursor(self, *args: Any, **options: Any) -> Cursor:
        return Cursor()

    def __getattr__(self, name: str) -> Any:
        """Whatever else a dialect calls on its driver's connection."""
        return lambda *args, **options: "utf8mb4"


def connect(*args: Any, **options: Any) -> Connection:
    return Connection()
