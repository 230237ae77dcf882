# SPDX-License-Identifier: MIT
"""A script without a server that looks at SQLAlchemy from all sides: it prints what it sees."""

import gc
import weakref
from typing import Any

from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Engine

calls: list[str] = []


@event.listens_for(Engine, "before_cursor_execute")
def of_the_class(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
    calls.append(f"class {statement[:20]}")


engine = create_engine("sqlite://", future=True)


@event.listens_for(engine, "before_cursor_execute")
def of_the_engine(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
    calls.append(f"engine {statement[:20]}")


class Hidden(Exception):
    def __str__(self) -> str:
        raise RuntimeError("this exception does not want to be told")


def execute(statement: str) -> None:
    with engine.connect() as connection:
        try:
            result = connection.execute(text(statement))
            print(type(result).__name__, len(repr(result.fetchall())))
            print([name for name in vars(result.context) if "faa" in name])
        except Exception as error:
            print(type(error).__name__, error.args[:0])


execute("SELECT 1")
execute("SELECT 'hush-" + "x" * 100_000 + "'")
execute("SELECT " + ", ".join(f"'hush-€ {number}' AS c{number}" for number in range(1900)))
execute("SELECT '\ud800'")  # No text of any encoding.
execute("SELECT '\x00 hush'")
execute("")
execute("SELECT FROM WHERE 'hush")


@event.listens_for(engine, "do_execute")
def broken(*rest: Any) -> None:
    raise Hidden


execute("SELECT 2")
print(calls)
gone = weakref.ref(engine)
engine.dispose()
del engine
gc.collect()
print("engine is gone:", gone() is None)
