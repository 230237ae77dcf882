# SPDX-License-Identifier: MIT
"""A script that looks at sqlite3 from all sides: it prints what it sees."""

import _sqlite3
import copy
import gc
import inspect
import pickle
import sqlite3
import sqlite3.dbapi2
import sys
import weakref
from typing import Any


class Loud(sqlite3.Cursor):
    def execute(self, *args: Any) -> Any:
        print("loud", args)
        return super().execute(*args)


class Mine(sqlite3.Connection):
    def cursor(self, *args: Any) -> Any:
        return super().cursor(*(args or (Loud,)))


conn = sqlite3.connect(":memory:")
cursor = conn.cursor()
print(type(conn), type(cursor), type(conn) is sqlite3.Connection, type(conn).__mro__)
print(sorted(dir(conn)), sorted(dir(cursor)))
print(sorted(vars(sqlite3.Connection)), sorted(vars(sqlite3.Cursor)))
print(sqlite3.connect is sqlite3.dbapi2.connect is _sqlite3.connect, repr(sqlite3.connect))
print(pickle.loads(pickle.dumps(sqlite3.connect)) is sqlite3.connect)
for owner in (sqlite3.Connection, sqlite3.Cursor):
    for name in ("execute", "executemany", "executescript"):
        method = getattr(owner, name)
        print(name, repr(method), method.__doc__, getattr(method, "__text_signature__", None))
        print(inspect.ismethoddescriptor(method), inspect.isroutine(method), inspect.isfunction(method))
        print(copy.copy(method) is method, method.__objclass__ is owner, method == method)
        try:
            print(inspect.signature(method), inspect.signature(getattr(owner(":memory:"), name)))
        except Exception as error:
            print(type(error).__name__)
    try:
        owner.execute = None  # type: ignore[assignment,method-assign,union-attr]
    except TypeError:
        print("immutable")  # (Not worded alike by all versions.)

print(conn.execute.__name__, conn.execute.__self__ is conn, cursor.execute.__self__ is cursor)
for wrong in (lambda: sqlite3.Connection.execute(3), lambda: sqlite3.Cursor.execute(conn, "x")):
    try:
        wrong()
    except TypeError as error:
        print(str(error).partition("(")[0])

with sqlite3.connect(":memory:", factory=Mine) as mine:
    mine.execute("CREATE TABLE a (b)")
    mine.execute("INSERT INTO a VALUES (?)", ("hush",))
    print(mine.executemany("INSERT INTO a VALUES (?)", [("hush-1",), ("hush-2",)]).rowcount)
    print(type(mine), type(mine.cursor()), mine.execute("SELECT count(*) FROM a").fetchall())
try:
    with mine:
        mine.execute("DELETE FROM a")
        raise LookupError
except LookupError:
    print(mine.execute("SELECT count(*) FROM a").fetchone(), mine.in_transaction)

mine.row_factory = sqlite3.Row
row = mine.execute("SELECT b FROM a").fetchone()
print(type(row), row.keys(), tuple(row))
seen: list[str] = []
mine.set_trace_callback(seen.append)
print(mine.execute("SELECT 'hush'").fetchone()[0], seen)
mine.set_trace_callback(None)
mine.backup(conn)
print(list(conn.iterdump()))
if hasattr(conn, "blobopen"):
    conn.execute("CREATE TABLE blobs (a blob)")
    conn.execute("INSERT INTO blobs VALUES (zeroblob(3))")
    with conn.blobopen("blobs", "a", 1) as blob:
        print(len(blob))
for statement in ("SELECT FROM 'hush", "", "SELECT 1; SELECT 2", "SELECT '\x00'", 5):
    try:
        print(conn.execute(statement).fetchall())  # type: ignore[arg-type]
    except Exception as error:
        print(type(error), error)
try:
    conn.execute("SELECT ?", [object()])
except Exception as error:
    print(type(error), error, error.__traceback__.tb_next)  # type: ignore[union-attr]
counts = [sys.getrefcount(None), len(gc.get_objects())]
for _ in range(1000):
    conn.execute("SELECT 1").fetchall()
gc.collect()
print(abs(len(gc.get_objects()) - counts[1]) < 100)
gone = weakref.ref(mine) if hasattr(mine, "__weakref__") else None
mine.close()
del mine
gc.collect()
print(gone is None or gone() is None)
