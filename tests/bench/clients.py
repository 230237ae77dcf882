# SPDX-License-Identifier: MIT
"""What tracing adds to a statement or call on the thread that makes it, beside the published
Python instrumentation of the same library.

Three processes, blocks of calls in turn: with the library's own functions, with the agent's hooks,
and with the published instrumentation, which sends its spans to the same collector in batches. They
are forked from one under the agent, so that their memory is laid out alike, and each stays what it
is: where functions are exchanged the interpreter's look-ups miss for long, which no application
pays. BENCH_COLLECTOR is the collector's address, BENCH_ROWS a regular expression for the rows that
are wanted.
"""

import asyncio
import multiprocessing
import os
import re
import statistics
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import hooks

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

TRIPLES = 9  # Of processes: where one's memory happens to lie makes a per cent or two.
ROUNDS = 12  # Blocks of each process, in turn.
CALLS = 40  # In a block.
WARMING = 500  # Calls before the first block: the interpreter adapts to what it runs.
SETTLING = 5  # Calls before each block: another process was on the processor.

COLLECTOR = os.environ["BENCH_COLLECTOR"]
ROWS = re.compile(os.environ.get("BENCH_ROWS", ""))

Block = Callable[[int], None]  # Makes that many calls.
Prepare = Callable[[ExitStack], tuple[str, "Published", Block]]


class Published:
    """The published instrumentation of a library, not switched on yet."""

    def __init__(self, name: str, instrumentor: str, **options: Any) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        module = __import__(f"opentelemetry.instrumentation.{name}", fromlist=[instrumentor])
        self._instrumentor = getattr(module, instrumentor)()
        self._provider = TracerProvider()
        exporter = OTLPSpanExporter(f"{COLLECTOR}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._options = {"tracer_provider": self._provider, **options}

    def on(self) -> None:
        self._instrumentor.instrument(**self._options)
        assert self._instrumentor.is_instrumented_by_opentelemetry

    def stop(self) -> None:
        self._provider.shutdown()


def measure(block: Block) -> float:
    """Returns the microseconds of this thread's CPU time per call."""
    block(SETTLING)
    start = time.thread_time_ns()
    block(CALLS)
    return (time.thread_time_ns() - start) / CALLS / 1000


class Side:
    """A process that measures one kind of the calls, when it is asked to."""

    KINDS = ("bare", "agent", "published")

    def __init__(self, kind: str, prepare: Prepare) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._child = os.fork()
        if not self._child:
            try:
                self._serve(kind, prepare, theirs)
            except BaseException:  # The other side sees that nothing more comes.
                traceback.print_exc()
            os._exit(0)
        theirs.close()

    def ask(self) -> Any:
        """Returns the next answer: whether there are hooks, and then each block's microseconds."""
        self._pipe.send(True)
        return self._pipe.recv()

    def stop(self) -> None:
        self._pipe.send(False)
        os.waitpid(self._child, 0)

    @staticmethod
    def _serve(kind: str, prepare: Prepare, pipe: Connection) -> None:
        with ExitStack() as stack:
            packages, published, block = prepare(stack)
            block(1)  # Some hooks are put in when they are first needed.
            found = hooks.find(tuple(packages.split()))
            if kind != "agent":
                hooks.take_out(found)
            if kind == "published":
                published.on()
            block(WARMING)
            pipe.recv()
            pipe.send(bool(found))
            while pipe.recv():
                pipe.send(measure(block))
            published.stop()


def measure_triple(prepare: Prepare) -> tuple[bool, float, float, float]:
    """Returns whether there are hooks, the microseconds of a call, and what is added to it by the
    agent and by the published instrumentation."""
    sides = [Side(kind, prepare) for kind in Side.KINDS]
    _, is_hooked, _ = (side.ask() for side in sides)
    rounds = [tuple(side.ask() for side in sides) for _ in range(ROUNDS)]
    for side in sides:
        side.stop()
    # A machine that grows slower for a while does so for all blocks of a round.
    return (
        is_hooked,
        statistics.median(bare for bare, _, _ in rounds),
        statistics.median(agent - bare for bare, agent, _ in rounds),
        statistics.median(published - bare for bare, _, published in rounds),
    )


def show(what: str, prepare: Prepare) -> None:
    """Prints a row."""
    triples = [measure_triple(prepare) for _ in range(TRIPLES)]
    is_hooked, *columns = zip(*triples, strict=True)
    bare, agent, published = map(statistics.median, columns)
    added = f"{agent:9.2f}" if all(is_hooked) else " no hooks"
    ratio = f"{published / agent:6.1f}" if agent > 0 else ""
    print(f"{what:36} {bare:9.2f} {added} {published:10.2f} {ratio}", flush=True)


def show_with_server(what: str, kind: str, prepare: Callable[[Any, ExitStack], Any]) -> None:
    """Prints a row of a library that talks to a server."""
    from harness import databases

    try:
        with databases.served(getattr(databases, kind)) as server:
            show(what, partial(prepare, server))
    except FileNotFoundError as error:  # It is not installed.
        print(f"{what:36} left out: {error}", flush=True)


def times(call: Callable[[], Any]) -> Block:
    """A block of a function's calls."""

    def block(count: int) -> None:
        for _ in range(count):
            call()

    return block


def awaited(loop: asyncio.AbstractEventLoop, call: Callable[[], Awaitable[Any]]) -> Block:
    """A block of a coroutine function's calls, one after another in one task."""

    async def run(count: int) -> None:
        for _ in range(count):
            await call()

    return lambda count: loop.run_until_complete(run(count))


# Rows. Each returns what show() prints it from; the databases and the server outlive it.


def sqlalchemy_core(stack: ExitStack) -> tuple[str, Published, Block]:
    import sqlalchemy

    engine = sqlalchemy.create_engine("sqlite://")
    connection = stack.enter_context(engine.connect())
    connection.execute(sqlalchemy.text("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)"))
    connection.execute(sqlalchemy.text("INSERT INTO items VALUES (1, 'one')"))
    items = sqlalchemy.table("items", sqlalchemy.column("id"), sqlalchemy.column("name"))
    select = sqlalchemy.select(items).where(items.c.id == sqlalchemy.bindparam("id"))
    published = Published("sqlalchemy", "SQLAlchemyInstrumentor", engine=engine)
    return "sqlalchemy sqlite3 _sqlite3", published, times(
        lambda: connection.execute(select, {"id": 1}).fetchall()
    )


def sqlalchemy_orm(stack: ExitStack) -> tuple[str, Published, Block]:
    import sqlalchemy
    from sqlalchemy import orm

    base = orm.declarative_base()

    class Item(base):  # type: ignore[misc, valid-type]
        __tablename__ = "items"
        id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
        name = sqlalchemy.Column(sqlalchemy.Text)
        stock = sqlalchemy.Column(sqlalchemy.Integer)

    engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.pool.StaticPool)
    base.metadata.create_all(engine)
    session = stack.enter_context(orm.Session(engine))
    session.add(Item(id=1, name="one", stock=5))
    session.commit()
    select = sqlalchemy.select(Item).where(Item.id == 1)
    published = Published("sqlalchemy", "SQLAlchemyInstrumentor", engine=engine)
    return "sqlalchemy sqlite3 _sqlite3", published, times(lambda: session.scalars(select).one())


def requests_stub(stack: ExitStack) -> tuple[str, Published, Block]:
    import stubs

    session = stack.enter_context(stubs.requests_session())
    published = Published("requests", "RequestsInstrumentor")
    return "requests urllib3 http", published, times(lambda: session.get("http://stub/items/1"))


def requests_loopback(stack: ExitStack) -> tuple[str, Published, Block]:
    import requests

    session = stack.enter_context(requests.Session())
    session.trust_env = False
    published = Published("requests", "RequestsInstrumentor")
    return "requests urllib3 http", published, times(lambda: session.get(f"{COLLECTOR}/items/1"))


def urllib3_stub(stack: ExitStack) -> tuple[str, Published, Block]:
    import stubs

    pool = stack.enter_context(stubs.urllib3_pool())
    published = Published("urllib3", "URLLib3Instrumentor")
    return "urllib3 http", published, times(lambda: pool.request("GET", "/items/1"))


def urllib_stub(stack: ExitStack) -> tuple[str, Published, Block]:
    import stubs

    opener = stubs.urllib_opener()

    def call() -> None:
        with opener.open("http://stub/items/1") as response:
            response.read()

    return "urllib http", Published("urllib", "URLLibInstrumentor"), times(call)


def httpx_stub(stack: ExitStack) -> tuple[str, Published, Block]:
    import stubs

    client = stack.enter_context(stubs.httpx_client())
    published = Published("httpx", "HTTPXClientInstrumentor")
    return "httpx", published, times(lambda: client.get("http://stub/items/1"))


def httpx_async_stub(stack: ExitStack) -> tuple[str, Published, Block]:
    import stubs

    loop = asyncio.new_event_loop()
    client = stubs.httpx_async_client()
    stack.callback(loop.close)
    stack.callback(lambda: loop.run_until_complete(client.aclose()))
    published = Published("httpx", "HTTPXClientInstrumentor")
    return "httpx", published, awaited(loop, lambda: client.get("http://stub/items/1"))


def httpx_loopback(stack: ExitStack) -> tuple[str, Published, Block]:
    import httpx

    client = stack.enter_context(httpx.Client(trust_env=False))
    published = Published("httpx", "HTTPXClientInstrumentor")
    return "httpx", published, times(lambda: client.get(f"{COLLECTOR}/items/1"))


def aiohttp_loopback(stack: ExitStack) -> tuple[str, Published, Block]:
    import aiohttp

    loop = asyncio.new_event_loop()
    stack.callback(loop.close)
    published = Published("aiohttp_client", "AioHttpClientInstrumentor")

    # A session takes its tracing when it is made.
    async def run(count: int) -> None:
        async with aiohttp.ClientSession() as session:
            for _ in range(count):
                async with session.get(f"{COLLECTOR}/items/1") as response:
                    await response.read()

    return "aiohttp", published, lambda count: loop.run_until_complete(run(count))


def redis_get(server: Any, stack: ExitStack) -> tuple[str, Published, Block]:
    import redis

    client = redis.Redis(port=server.port)
    stack.callback(client.close)
    published = Published("redis", "RedisInstrumentor")
    return "redis", published, times(lambda: client.get("key"))


def dsn_of(server: Any) -> str:
    """Returns PostgreSQL's connection string."""
    from harness.databases import DATABASE, PASSWORD, USER

    return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{server.port}/{DATABASE}"


SELECT = "SELECT datname FROM pg_database WHERE oid = "


def psycopg_select(server: Any, stack: ExitStack) -> tuple[str, Published, Block]:
    import psycopg

    dsn = dsn_of(server)
    published = Published("psycopg", "PsycopgInstrumentor")

    # A connection takes its tracing when it is made.
    def block(count: int) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            for _ in range(count):
                connection.execute(SELECT + "%s", (1,)).fetchall()

    return "psycopg psycopg_binary", published, block


def asyncpg_select(server: Any, stack: ExitStack) -> tuple[str, Published, Block]:
    import asyncpg

    loop = asyncio.new_event_loop()
    stack.callback(loop.close)
    published = Published("asyncpg", "AsyncPGInstrumentor")
    connection = loop.run_until_complete(asyncpg.connect(dsn_of(server)))
    stack.callback(lambda: loop.run_until_complete(connection.close()))
    return "asyncpg", published, awaited(loop, lambda: connection.fetch(SELECT + "$1", 1))


CASES = {
    "SQLAlchemy Core, SQLite in memory": sqlalchemy_core,
    "SQLAlchemy ORM, SQLite in memory": sqlalchemy_orm,
    "requests, no network": requests_stub,
    "requests, loopback": requests_loopback,
    "urllib3, no network": urllib3_stub,
    "urllib, no network": urllib_stub,
    "httpx, no network": httpx_stub,
    "httpx async, no network": httpx_async_stub,
    "httpx, loopback": httpx_loopback,
    "aiohttp, loopback": aiohttp_loopback,
}

# The same beside a server, which all processes of a row use.
SERVER_CASES = {
    "redis GET, loopback": ("Redis", redis_get),
    "psycopg, loopback": ("PostgreSQL", psycopg_select),
    "asyncpg, loopback": ("PostgreSQL", asyncpg_select),
}


def main() -> None:
    os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])  # One processor, for all alike.
    print("one statement or call, µs of CPU of its thread: added by the agent and by the published")
    print(f"{'instrumentation':36} {'bare':>9} {'agent':>9} {'published':>10} {'ratio':>6}")
    for what, prepare in CASES.items():
        if ROWS.search(what):
            show(what, prepare)
    for what, (kind, prepare_with) in SERVER_CASES.items():
        if ROWS.search(what):
            show_with_server(what, kind, prepare_with)


if __name__ == "__main__":
    main()
