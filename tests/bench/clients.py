# SPDX-License-Identifier: MIT
"""What tracing adds to a statement or call on the thread that makes it, beside the published
Python instrumentation of the same library.

One process, blocks of calls in turn: with the library's own functions, with the agent's hooks, and
with the published instrumentation, which sends its spans to the same collector in batches. Run
under the agent. BENCH_COLLECTOR is the collector's address, BENCH_ROWS a regular expression for the
rows that are wanted.
"""

import asyncio
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import hooks

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

ROUNDS = 40  # Blocks of each kind, in turn.
CALLS = 40  # In a block.
# Before a block is measured the interpreter adapts to the change of functions: for some 50 calls
# each look-up in a class that has changed misses, and a call of urllib3 has 15,000 instructions more
# than in a process that stays as it is.
SETTLING = 100

COLLECTOR = os.environ["BENCH_COLLECTOR"]
ROWS = re.compile(os.environ.get("BENCH_ROWS", ""))

Block = Callable[[int], None]  # Makes that many calls.


class Published:
    """The published instrumentation of a library, switched on and off."""

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

    def off(self) -> None:
        self._instrumentor.uninstrument()

    def stop(self) -> None:
        self._provider.shutdown()


def measure(block: Block) -> float:
    """Returns the microseconds of this thread's CPU time per call."""
    block(SETTLING)
    start = time.thread_time_ns()
    block(CALLS)
    return (time.thread_time_ns() - start) / CALLS / 1000


def low(values: list[float]) -> float:
    """Whatever else the machine does only ever adds: the quiet fifth of the blocks tells most."""
    return statistics.quantiles(values, n=5)[0]


def show(what: str, packages: str, published: Published, block: Block) -> None:
    """Prints a row."""
    block(1)  # Some hooks are put in when they are first needed.
    found = hooks.find(tuple(packages.split()))
    bare, agent, theirs = [], [], []
    for _ in range(ROUNDS):
        hooks.take_out(found)
        bare.append(measure(block))
        published.on()
        theirs.append(measure(block))
        published.off()
        hooks.put_back(found)
        agent.append(measure(block))
    published.stop()
    # A machine that grows slower for a while does so for all blocks of a round.
    added = statistics.median(a - b for a, b in zip(agent, bare, strict=True))
    published_added = statistics.median(t - b for t, b in zip(theirs, bare, strict=True))
    if not found:
        print(f"{what:36} {low(bare):9.2f} {'no hooks':>9} {published_added:10.2f}", flush=True)
        return
    ratio = f"{published_added / added:6.1f}" if added > 0 else ""
    print(f"{what:36} {low(bare):9.2f} {added:9.2f} {published_added:10.2f} {ratio}", flush=True)


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


def redis_get(stack: ExitStack) -> tuple[str, Published, Block]:
    import redis
    from harness.databases import Redis

    server = Redis(Path(stack.enter_context(tempfile.TemporaryDirectory())))
    stack.callback(server.stop)
    client = redis.Redis(port=server.port)
    stack.callback(client.close)
    published = Published("redis", "RedisInstrumentor")
    return "redis", published, times(lambda: client.get("key"))


def postgresql(stack: ExitStack) -> str:
    """Starts a server; returns its connection string."""
    from harness.databases import DATABASE, PASSWORD, USER, PostgreSQL

    server = PostgreSQL(Path(stack.enter_context(tempfile.TemporaryDirectory())))
    stack.callback(server.stop)
    return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{server.port}/{DATABASE}"


SELECT = "SELECT datname FROM pg_database WHERE oid = "


def psycopg_select(stack: ExitStack) -> tuple[str, Published, Block]:
    import psycopg

    dsn = postgresql(stack)
    published = Published("psycopg", "PsycopgInstrumentor")

    # A connection takes its tracing when it is made.
    def block(count: int) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            for _ in range(count):
                connection.execute(SELECT + "%s", (1,)).fetchall()

    return "psycopg psycopg_binary", published, block


def asyncpg_select(stack: ExitStack) -> tuple[str, Published, Block]:
    import asyncpg

    dsn = postgresql(stack)
    loop = asyncio.new_event_loop()
    stack.callback(loop.close)
    published = Published("asyncpg", "AsyncPGInstrumentor")
    connection = loop.run_until_complete(asyncpg.connect(dsn))
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
    "redis GET, loopback": redis_get,
    "psycopg, loopback": psycopg_select,
    "asyncpg, loopback": asyncpg_select,
}


def main() -> None:
    print("one statement or call, µs of CPU of its thread: added by the agent and by the published")
    print(f"{'instrumentation':36} {'bare':>9} {'agent':>9} {'published':>10} {'ratio':>6}")
    for what, prepare in CASES.items():
        if not ROWS.search(what):
            continue
        with ExitStack() as stack:
            try:
                packages, published, block = prepare(stack)
            except FileNotFoundError as error:  # A server that is not installed.
                print(f"{what:36} left out: {error}", flush=True)
                continue
            with suppress(KeyboardInterrupt):
                show(what, packages, published, block)


if __name__ == "__main__":
    main()
