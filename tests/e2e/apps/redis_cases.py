# SPDX-License-Identifier: MIT
"""redis-py in the ways that services use it, sync and asyncio. Words with "hush" are secrets.

/{kind}/{case} runs a case with the client of that kind, "sync" or "async". REDIS_PORT,
REDIS_SOCKET: the server; CLUSTER_PORT: a cluster's node; SENTINEL_PORT: a sentinel.
"""

import asyncio
import contextlib
import inspect
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.backoff
import redis.cluster
import redis.retry
import redis.sentinel
from fastapi import FastAPI

PORT = int(os.environ["REDIS_PORT"])
SOCKET = os.environ["REDIS_SOCKET"]
CLUSTER = int(os.environ.get("CLUSTER_PORT", "0"))
SENTINEL = int(os.environ.get("SENTINEL_PORT", "0"))

app = FastAPI()
cases: dict[str, Callable[..., Any]] = {}


async def settle(result: Any) -> Any:
    """The result of a call of either client."""
    return await result if inspect.isawaitable(result) else result


class Kind:
    """The parts of redis-py for one way of calling it."""

    def __init__(self, package: Any, cluster: Any, sentinel: Any, retry: Any) -> None:
        self.package, self.cluster, self.sentinel = package, cluster, sentinel
        self.retry = retry
        self.made: list[Any] = []

    def client(self, **options: Any) -> Any:
        """A new client, closed when the case is over."""
        retry = self.retry(redis.backoff.NoBackoff(), 1)
        options = {"host": "127.0.0.1", "port": PORT, "retry": retry, **options}
        self.made.append(self.package.Redis(**options))
        return self.made[-1]

    async def close(self) -> None:
        """Closes what client() has made."""
        while self.made:
            await close(self.made.pop())


async def close(client: Any) -> None:
    """Closes a client of any kind and version, with its connections."""
    await settle(getattr(client, "aclose", client.close)())
    pool = getattr(client, "connection_pool", None)
    if pool is not None:
        await settle(pool.disconnect())


kinds = {
    "sync": Kind(redis, redis.cluster, redis.sentinel, redis.retry.Retry),
    "async": Kind(
        redis.asyncio, redis.asyncio.cluster, redis.asyncio.sentinel, redis.asyncio.retry.Retry
    ),
}


def case(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Makes it callable as /{kind}/{name of the function}."""
    cases[function.__name__] = function
    return function


@app.get("/{kind}/{name}")
async def run(kind: str, name: str) -> Any:
    try:
        return await cases[name](kinds[kind])
    finally:
        await kinds[kind].close()


async def outcome(call: Any) -> Any:
    """What a call returns, or the type and text of the exception that it raises."""
    try:
        return await settle(call())
    except Exception as error:
        return [f"{type(error).__module__}.{type(error).__qualname__}", str(error)]


# Commands.


@case
async def commands(kind: Kind) -> Any:
    client = kind.client()
    await settle(client.set("key-hush", "value-hush"))
    await settle(client.get("key-hush"))
    await settle(client.hset("hash-hush", mapping={"field-hush": "hush", "b": 2}))
    await settle(client.config_get("maxmemory"))
    await settle(client.publish("channel-hush", "message-hush"))
    await settle(client.execute_command("SET raw-hush hush"))
    await settle(client.execute_command(b"GET", "raw-hush"))
    await settle(client.object("ENCODING", "raw-hush"))
    return (await settle(client.get("key-hush"))).decode()


@case
async def many_values(kind: Kind) -> Any:
    client = kind.client()
    return len(await settle(client.mget([f"hush-{i}" for i in range(1000)])))


@case
async def odd_command(kind: Kind) -> Any:
    return await outcome(lambda: kind.client().execute_command("key:hush", "hush"))


@case
async def decoded(kind: Kind) -> Any:
    client = kind.client(decode_responses=True)
    await settle(client.set("decoded", "ä"))
    return await settle(client.get("decoded"))


@case
async def scripts(kind: Kind) -> Any:
    client = kind.client()
    await settle(client.script_flush())
    await settle(client.eval("return 'hush'", 1, "key-hush"))
    return (await settle(client.register_script("return ARGV[1] -- hush")(args=["hush"]))).decode()


@case
async def functions(kind: Kind) -> Any:
    client = kind.client()
    code = "#!lua name=faa\nredis.register_function('faa_f', function() return 'hush' end)"
    await settle(client.function_load(code, replace=True))
    return (await settle(client.fcall("faa_f", 1, "key-hush"))).decode()


@case
async def lock(kind: Kind) -> Any:
    client = kind.client()
    lock = client.lock("lock-hush", timeout=5)
    await settle(lock.acquire())
    await settle(lock.release())
    return "released"


@case
async def gathered(kind: Kind) -> Any:
    """Calls that overlap; of the sync client, in threads that have the context."""
    client = kind.client()
    if kind is kinds["sync"]:
        return len(await asyncio.gather(*(asyncio.to_thread(client.ping) for _ in range(5))))
    return len(await asyncio.gather(*(client.ping() for _ in range(5))))


# Pipelines.


@case
async def pipelines(kind: Kind) -> Any:
    client = kind.client()
    answers = []
    for transaction in (False, True):
        for names in (["a", "b"], ["a"]):
            pipe = client.pipeline(transaction=transaction)
            for name in names:
                pipe.set(f"{name}-hush", "hush")
            answers.append(await settle(pipe.execute()))
        pipe = client.pipeline(transaction=transaction)
        pipe.set("a-hush", "hush")
        pipe.get("a-hush")
        pipe.mget("a-hush", "b-hush")
        answers.append(len(await settle(pipe.execute())))
    answers.append(await settle(client.pipeline().execute()))  # Nothing to send.
    return answers


@case
async def long_pipeline(kind: Kind) -> Any:
    client = kind.client()
    same, mixed = client.pipeline(), client.pipeline()
    for i in range(1000):
        same.set(f"hush-{i}", i)
        mixed.set(f"hush-{i}", i)
    mixed.get("hush-1")
    word = "CLIENT"
    several = client.pipeline(transaction=False)
    for _ in range(200):
        several.execute_command(word, "ID")
    several.execute_command(word, "GETNAME")
    return [len(await settle(pipe.execute())) for pipe in (same, mixed, several)]


@case
async def pipeline_with_script(kind: Kind) -> Any:
    client = kind.client()
    await settle(client.script_flush())
    pipe = client.pipeline()
    await settle(client.register_script("return 'hush'")(client=pipe))
    return [answer.decode() for answer in await settle(pipe.execute())]


@case
async def watched(kind: Kind) -> Any:
    """A transaction that wins its race, one that loses it, one that has nothing to do."""
    client = kind.client()
    answers = []
    for disturbed in (False, True):
        pipe = client.pipeline()
        await settle(pipe.watch("watched-hush"))
        await settle(pipe.get("watched-hush"))
        pipe.multi()
        pipe.set("watched-hush", "hush")
        if disturbed:
            await settle(client.set("watched-hush", "other-hush"))
        answers.append(await outcome(pipe.execute))
        await settle(pipe.reset())
    return answers


@case
async def failing_pipeline(kind: Kind) -> Any:
    client = kind.client()
    await settle(client.set("text-hush", "hush"))
    answers = []
    for transaction in (False, True):
        pipe = client.pipeline(transaction=transaction)
        pipe.get("text-hush")
        pipe.lpush("text-hush", "value-hush caused error: HUSH")
        answers.append((await outcome(pipe.execute))[0])
    pipe = client.pipeline()
    pipe.lpush("text-hush", "hush")
    answers.append(type((await settle(pipe.execute(raise_on_error=False)))[0]).__name__)
    return answers


# Errors.


@case
async def wrong_type(kind: Kind) -> Any:
    client = kind.client()
    await settle(client.set("text-hush", "hush"))
    return await outcome(lambda: client.lpush("text-hush", "hush"))


@case
async def server_errors(kind: Kind) -> Any:
    client = kind.client()
    await settle(client.set("text-hush", "hush"))
    return [
        await outcome(call)
        for call in (
            lambda: client.execute_command("NOSUCH", "hush", "it's' hush 'hush"),
            lambda: client.incr("text-hush"),
            lambda: client.evalsha("f" * 40, 0),
            lambda: client.eval("return redis.error_reply('OWN hush hush')", 0),
            lambda: client.eval("this is hush no Lua", 0),
        )
    ]


@case
async def client_error(kind: Kind) -> Any:
    """One of redis-py's own, before anything is sent."""
    return (await outcome(lambda: kind.client().set("key-hush", {"hush": 1})))[0]


@case
async def undecodable(kind: Kind) -> Any:
    client = kind.client(decode_responses=True)
    await settle(client.set("bytes", b"\xff\xfe hush"))
    return (await outcome(lambda: client.get("bytes")))[0]


@case
async def refused(kind: Kind) -> Any:
    return (await outcome(lambda: kind.client(port=1).get("key-hush")))[0]


class Counting(redis.backoff.NoBackoff):
    """Counts how often something is tried again, over all of its copies."""

    count = 0

    def compute(self, failures: int) -> float:
        Counting.count += 1
        return 0


@case
async def retried(kind: Kind) -> Any:
    before = Counting.count
    client = kind.client(port=1, db=2, retry=kind.retry(Counting(), 3))
    await outcome(lambda: client.get("key-hush"))
    return [Counting.count - before, redis.__version__]


@case
async def timeout(kind: Kind) -> Any:
    client = kind.client(socket_timeout=0.1, retry=None)
    return (await outcome(lambda: client.blpop(["nothing-hush"], 5)))[0]


@case
async def still_there(kind: Kind) -> Any:
    """A command of a client that lives as long as the process, for servers that come and go."""
    if kind not in lasting:
        lasting[kind] = kind.client()
        kind.made.remove(lasting[kind])
    return await outcome(lambda: lasting[kind].ping())


lasting: dict[Kind, Any] = {}


@case
async def wrong_password(kind: Kind) -> Any:
    client = kind.client(username="shop-hush", password="password-hush")
    return (await outcome(lambda: client.get("key-hush")))[0]


@case
async def right_password(kind: Kind) -> Any:
    admin = kind.client()
    rules = ("on", ">password-hush", "~*", "+@all")
    await settle(admin.execute_command("ACL SETUSER", "shop-hush", *rules))
    client = kind.client(username="shop-hush", password="password-hush", client_name="name-hush")
    answer = await settle(client.ping())
    await settle(admin.execute_command("ACL DELUSER", "shop-hush"))
    return answer


# Waiting.


@case
async def blocking(kind: Kind) -> Any:
    return await settle(kind.client().blpop(["nothing-hush"], 1))


@case
async def cancelled(kind: Kind) -> Any:
    client = kind.client()
    task = asyncio.create_task(client.blpop(["nothing-hush"], 5))
    await asyncio.sleep(0.2)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    try:
        await asyncio.wait_for(client.blpop(["nothing-hush"], 5), 0.1)
    except asyncio.TimeoutError:
        return await settle(client.ping())


@case
async def never_awaited(kind: Kind) -> Any:
    client = kind.client()
    client.get("key-hush").close()
    return await settle(client.ping())


@case
async def pool_wait(kind: Kind) -> Any:
    """One connection, which another one holds for a while."""
    package = kind.package
    options = {"host": "127.0.0.1", "port": PORT, "max_connections": 1, "timeout": 10}
    client = package.Redis(connection_pool=package.BlockingConnectionPool(**options))
    kind.made.append(client)
    if kind is kinds["sync"]:
        await asyncio.gather(
            asyncio.to_thread(client.blpop, ["nothing-hush"], 1),
            asyncio.to_thread(lambda: threading.Event().wait(0.1) or client.ping()),
        )
    else:

        async def late() -> None:
            await asyncio.sleep(0.1)
            await client.ping()

        await asyncio.gather(client.blpop(["nothing-hush"], 1), late())
    return "done"


# Servers.


@case
async def servers(kind: Kind) -> Any:
    """The names and places of servers, as a client may know them."""
    made = [
        kind.client(),
        kind.client(db=3),
        kind.client(unix_socket_path=SOCKET, db=1),
        kind.package.Redis.from_url(f"redis://127.0.0.1:{PORT}/4"),
        kind.package.Redis.from_url(f"unix://{SOCKET}?db=5"),
    ]
    kind.made.extend(made[3:])
    return [await settle(client.ping()) for client in made]


@case
async def subscribing(kind: Kind) -> Any:
    client = kind.client()
    pubsub = client.pubsub()
    await settle(pubsub.subscribe("channel-hush"))
    await settle(client.publish("channel-hush", "message-hush"))
    seen = []
    for _ in range(100):
        message = await settle(pubsub.get_message(timeout=0.1))
        if message is not None:
            seen.append(message["type"])
        if len(seen) == 2:
            break
    await settle(getattr(pubsub, "aclose", pubsub.close)())
    return seen


@case
async def clusters(kind: Kind) -> Any:
    client = kind.cluster.RedisCluster(host="127.0.0.1", port=CLUSTER)
    try:
        await settle(client.set("key-hush", "hush"))
        pipe = client.pipeline()
        pipe.set("{a}1-hush", "hush")
        pipe.get("{a}2-hush")
        answers = [len(await settle(pipe.execute()))]
        answers.append(await settle(client.dbsize()))
        answers.append((await outcome(lambda: client.lpush("key-hush", "hush")))[0])
        return answers
    finally:
        await close(client)


@case
async def sentinels(kind: Kind) -> Any:
    sentinel = kind.sentinel.Sentinel([("127.0.0.1", SENTINEL)])
    client = sentinel.master_for("shop", db=2)
    kind.made.extend([client, *sentinel.sentinels])
    return await settle(client.ping())


@app.get("/in-thread")
def in_thread() -> Any:
    with contextlib.closing(redis.Redis(host="127.0.0.1", port=PORT)) as client:
        return client.ping()
