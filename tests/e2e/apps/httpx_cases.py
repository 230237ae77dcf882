# SPDX-License-Identifier: MIT
"""httpx in all the ways that services use it: /sync/CASE and /async/CASE run the same case with
Client (in a thread) and with AsyncClient. Words with "hush" are secrets.

TARGET_URL is a server that does as it is told, TLS_URL one with the certificate of TLS_CA, PROXY_URL
a proxy to the former and TUNNEL_URL one to the latter, H2_URL a server of HTTP/2, CLOSED_URL a closed
port.
"""

import asyncio
import gc
import inspect
import os
import pickle
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import httpx
from fastapi import FastAPI

TARGET = os.environ["TARGET_URL"]
# Options that older releases have by other names: before 0.20 and 0.26. The older of the former is
# on where nothing is said.
NAMES = inspect.signature(httpx.Client.get).parameters
FOLLOW, STAY = (
    {"follow_redirects" if "follow_redirects" in NAMES else "allow_redirects": value}
    for value in (True, False)
)
PROXY = "proxy" if "proxy" in inspect.signature(httpx.Client).parameters else "proxies"
app = FastAPI()
cases: dict[str, Callable[..., Any]] = {}


def case(function: Callable[..., Any]) -> Callable[..., Any]:
    cases[function.__name__.replace("_", "-")] = function
    return function


class Sync:
    """One way to call: what is a call here is an await there."""

    Client: Any = httpx.Client
    Transport: Any = httpx.HTTPTransport

    async def do(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return function(*args, **options)

    async def pieces(self, response: Any) -> AsyncIterator[bytes]:
        for piece in response.iter_bytes():
            yield piece

    async def close(self, thing: Any) -> None:
        thing.close()

    async def many(self, function: Callable[..., Any], items: list[Any]) -> list[Any]:
        with ThreadPoolExecutor(4) as pool:
            tasks = [pool.submit(copy_context().run, function, item) for item in items]
            return [task.result() for task in tasks]


class Async(Sync):
    Client = httpx.AsyncClient
    Transport = httpx.AsyncHTTPTransport

    async def do(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return await function(*args, **options)

    async def pieces(self, response: Any) -> AsyncIterator[bytes]:
        async for piece in response.aiter_bytes():
            yield piece

    async def close(self, thing: Any) -> None:
        await thing.aclose()

    async def many(self, function: Callable[..., Any], items: list[Any]) -> list[Any]:
        return await asyncio.gather(*(function(item) for item in items))


async def run(name: str, way: Sync, query: dict[str, str]) -> Any:
    options: dict[str, Any] = {"trust_env": False}
    if name.startswith("tls"):
        options["verify"] = ssl.create_default_context(cafile=os.environ["TLS_CA"])
    client = way.Client(**options)
    try:
        return await cases[name](way, client, **query)
    finally:
        await way.close(client)


@app.get("/sync/{name}")
def sync_case(name: str, query: str = "") -> Any:
    try:
        run(name, Sync(), dict(httpx.QueryParams(query))).send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


@app.get("/async/{name}")
async def async_case(name: str, query: str = "") -> Any:
    return await run(name, Async(), dict(httpx.QueryParams(query)))


def described(response: httpx.Response) -> dict[str, Any]:
    """What an application sees of an exchange."""
    request = response.request
    return {
        "status": response.status_code,
        "version": response.http_version,
        "url": str(response.url),
        "history": [hop.status_code for hop in response.history],
        "headers": [pair for pair in response.headers.multi_items() if pair[0] != "date"],
        "request": [type(request).__name__, request.method, request.headers.multi_items()],
        "closed": [response.is_closed, response.is_stream_consumed],
        "stream": [type(response.stream).__name__, type(request.stream).__name__],
        "attributes": [sorted(vars(response)), sorted(vars(request))],
        # httpx 0.18 goes by the loop's clock, and uvloop's counts milliseconds.
        "elapsed": response.elapsed.total_seconds() >= 0,
    }


async def failure(call: Any) -> list[Any]:
    """The exception and its causes, with what an application can read of them."""
    try:
        await call
    except Exception as error:
        found: list[Any] = []
        cause: BaseException | None = error
        while cause is not None:
            found.append([type(cause).__name__, str(cause), len(cause.args)])
            cause = cause.__cause__ or cause.__context__
        request = getattr(error, "_request", None)
        return [*found, request and [str(request.url), request.headers.multi_items()]]
    raise AssertionError("did not fail")


@case
async def get(way: Any, client: Any, path: str = "/echo", method: str = "GET") -> Any:
    response = await way.do(client.request, method, TARGET + path, **FOLLOW)
    return described(response)


@case
async def tls_get(way: Any, client: Any) -> Any:
    return described(await way.do(client.get, os.environ["TLS_URL"] + "/echo"))


@case
async def secrets(way: Any, client: Any) -> int:
    url = TARGET.replace("//", "//bob:hush-1@") + "/echo?sig=hush-2&page=7#part"
    return (await way.do(client.get, url)).status_code


@case
async def redirect_manual(way: Any, client: Any) -> list[int]:
    first = await way.do(client.get, f"{TARGET}/redirect/1", **STAY)
    second = await way.do(client.send, first.next_request)
    return [first.status_code, second.status_code]


@case
async def too_many(way: Any, client: Any) -> Any:
    client.max_redirects = 3
    return await failure(way.do(client.get, f"{TARGET}/redirect/9", **FOLLOW))


@case
async def digest(way: Any, client: Any, path: str = "/digest") -> Any:
    auth = httpx.DigestAuth("bob", "hush-3")
    response = await way.do(client.get, TARGET + path, auth=auth, **FOLLOW)
    return [response.status_code, [hop.status_code for hop in response.history]]


@case
async def fails(way: Any, client: Any, how: str) -> Any:
    url = {
        "refused": os.environ["CLOSED_URL"],
        "tls": os.environ["TLS_URL"],
        "name": "http://no.such.host.invalid",
        "timeout": f"{TARGET}/hang",
    }.get(how, f"{TARGET}/raw/{how}")
    return await failure(way.do(client.get, f"{url}?sig=hush-4&page=7", timeout=0.3))


@case
async def raw(way: Any, client: Any, answer: str) -> Any:
    """Whatever comes of an answer of any bytes."""
    try:
        response = await way.do(client.get, f"{TARGET}/raw/{answer}", **FOLLOW)
    except Exception as error:
        return [type(error).__name__, str(error)]
    return [described(response), response.text]


# Bodies.


async def opened(way: Any, client: Any, path: str) -> Any:
    return await way.do(client.send, client.build_request("GET", TARGET + path), stream=True)


@case
async def gated(way: Any, client: Any, key: str) -> str:
    """The body's second half comes when another call has asked for it."""
    response = await opened(way, client, f"/gated/{key}")
    body = []
    async for piece in way.pieces(response):
        body.append(piece)
        if len(body) == 1:
            await way.do(client.get, f"{TARGET}/open/{key}")
    return b"".join(body).decode()


@case
async def left(way: Any, client: Any, how: str) -> int:
    """The body is not read, and then the next call follows."""
    response = await opened(way, client, "/bytes/1000000")
    if how == "closed":
        await way.close(response)
    elif how == "partly":
        pieces = way.pieces(response)
        await pieces.__anext__()
        await pieces.aclose()
        await way.close(response)
    elif how == "raised":

        async def read() -> None:
            if isinstance(response.stream, AsyncIterable):
                async for _ in response.stream:
                    raise LookupError("the application's own")
            for _ in response.stream:
                raise LookupError("the application's own")

        await failure(read())
        await way.close(response)
    response = None
    gc.collect()
    return (await way.do(client.get, f"{TARGET}/echo")).status_code


@case
async def broken(way: Any, client: Any, answer: str) -> Any:
    """Nobody closes a response whose body has failed; it is still there at the next call."""
    response = await opened(way, client, f"/raw/{answer}")

    async def read() -> None:
        async for _ in way.pieces(response):
            pass

    found = await failure(read())
    await way.do(client.get, f"{TARGET}/echo")
    return [found, response.status_code]


@case
async def chunks(way: Any, client: Any) -> int:
    response = await opened(way, client, "/chunks/50")
    return len(b"".join([piece async for piece in way.pieces(response)]))


# Transports.


class Again(httpx.HTTPTransport):
    """Sends up to three times, in a subclass of httpx's own transport."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(2):
            try:
                response = super().handle_request(request)
            except httpx.RemoteProtocolError:
                continue
            if response.status_code < 500:
                return response
            response.close()
        return super().handle_request(request)


class AsyncAgain(httpx.AsyncBaseTransport):
    """Sends up to three times, around httpx's own transport, and copies of the request at that."""

    def __init__(self) -> None:
        self.inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(2):
            copy = httpx.Request(
                request.method, request.url, headers=request.headers, stream=request.stream
            )
            try:
                response = await self.inner.handle_async_request(copy)
            except httpx.RemoteProtocolError:
                continue
            if response.status_code < 500:
                return response
            await response.aclose()
            await asyncio.sleep(0.01)
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


@case
async def retry(way: Any, client: Any, path: str, own: str = "") -> Any:
    transport = Again() if type(way) is Sync else AsyncAgain()
    other = way.Client(transport=transport, trust_env=False)
    headers = {"traceparent": own} if own else {}
    response = await way.do(other.get, TARGET + path, headers=headers)
    await way.close(other)
    return described(response)


class Signing(httpx.HTTPTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["X-Signed"] = "1"
        request.headers.update({"Accept": "text/plain"})
        return super().handle_request(request)


class AsyncSigning(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        request.headers["X-Signed"] = "1"
        request.headers.update({"Accept": "text/plain"})
        return await super().handle_async_request(request)


@case
async def signing(way: Any, client: Any) -> Any:
    transport = Signing() if type(way) is Sync else AsyncSigning()
    other = way.Client(mounts={"http://": transport}, trust_env=False)
    response = await way.do(other.get, f"{TARGET}/echo")
    await way.close(other)
    return described(response)


def answer_with_headers(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=dict(request.headers))


@case
async def mock(way: Any, client: Any) -> Any:
    other = way.Client(transport=httpx.MockTransport(answer_with_headers), trust_env=False)
    return (await way.do(other.get, "http://mock.invalid/x")).json()


@case
async def mounted(way: Any, client: Any) -> Any:
    mounts = {"http://mock.invalid": httpx.MockTransport(answer_with_headers)}
    other = way.Client(mounts=mounts, trust_env=False)
    return (await way.do(other.get, "http://mock.invalid/x")).json()


@case
async def replaced(way: Any, client: Any) -> Any:
    """As plugins of test frameworks do it."""

    async def answer_async(self: Any, request: httpx.Request) -> httpx.Response:
        return answer_with_headers(request)

    if type(way) is Sync:
        kind: Any = httpx.HTTPTransport
        name, method = "handle_request", lambda self, request: answer_with_headers(request)
    else:
        kind, name, method = httpx.AsyncHTTPTransport, "handle_async_request", answer_async
    original = kind.__dict__[name]
    setattr(kind, name, method)
    try:
        return (await way.do(way.Client(trust_env=False).get, "http://mock.invalid/x")).json()
    finally:
        setattr(kind, name, original)


@case
async def proxy(way: Any, client: Any, how: str) -> Any:
    """The host does not exist: only the proxy leads to it."""
    url = os.environ["PROXY_URL" if how == "plain" else "TUNNEL_URL"]
    verify = ssl.create_default_context(cafile=os.environ["TLS_CA"])
    options = {PROXY: url.replace("//", "//bob:hush-5@")}
    other = way.Client(**options, verify=verify, trust_env=False)
    scheme = "http" if how == "plain" else "https"
    response = await way.do(other.get, f"{scheme}://shop.invalid/echo")
    await way.close(other)
    return response.status_code


@case
async def http2(way: Any, client: Any, streams: str) -> Any:
    other = way.Client(http1=False, http2=True, trust_env=False)

    def one(number: int) -> Any:
        return other.get(f"{os.environ['H2_URL']}/?n={number}")

    numbers = list(range(int(streams)))
    # Threads that share a connection of httpcore's over HTTP/2 spoil it now and then.
    together = 1 if type(way) is Sync else len(numbers) - 1
    responses = [await way.do(one, numbers.pop(0))]
    while numbers:
        responses += await way.many(one, numbers[:together])
        del numbers[:together]
    await way.close(other)
    return [[r.http_version, r.json()["n"], r.json()["traceparent"]] for r in responses]


@case
async def http2_own(way: Any, client: Any, own: str) -> Any:
    other = way.Client(http1=False, http2=True, trust_env=False)
    url, headers = os.environ["H2_URL"] + "/?n=0", {"Traceparent": own}
    response = await way.do(lambda: other.get(url, headers=headers))
    await way.close(other)
    return response.json()["traceparent"]


# What the application sees of its own objects.


@case
async def own(way: Any, client: Any) -> list[int]:
    first = await way.do(
        client.get, f"{TARGET}/echo", headers={"TraceParent": f"00-{'a' * 32}-{'b' * 16}-01"}
    )
    second = await way.do(client.get, f"{TARGET}/echo", headers={"tracestate": "mine=1"})
    return [first.status_code, second.status_code]


@case
async def unchanged(way: Any, client: Any) -> Any:
    seen: list[Any] = []

    def look(thing: Any) -> None:
        request = thing if isinstance(thing, httpx.Request) else thing.request
        seen.append([type(thing).__name__, request.headers.multi_items(), sorted(vars(request))])

    async def look_async(thing: Any) -> None:
        look(thing)

    hook = look if type(way) is Sync else look_async
    other = way.Client(event_hooks={"request": [hook], "response": [hook]}, trust_env=False)
    request = other.build_request("POST", f"{TARGET}/echo", content=b"body", headers={"X-Own": "1"})
    headers, before = request.headers, request.headers.multi_items()
    response = await way.do(other.send, request)
    await way.close(other)
    copy = pickle.loads(pickle.dumps(response))
    return {
        "same": [response.request is request, request.headers is headers],
        "headers": [before, request.headers.multi_items(), copy.request.headers.multi_items()],
        "hooks": seen,
        "names": [way.Client._send_single_request.__qualname__, way.Client.__module__],
        "stream": sorted(vars(response.stream)),
        "response": described(response),
    }


@case
async def twice(way: Any, client: Any) -> list[int]:
    request = client.build_request("GET", f"{TARGET}/echo")
    return [(await way.do(client.send, request)).status_code for _ in range(2)]


@case
async def shared(way: Any, client: Any) -> Any:
    """One request is sent many times at once."""
    request = client.build_request("GET", f"{TARGET}/echo")
    before = request.headers.multi_items()
    responses = await way.many(client.send, [request] * 4)
    return [[r.status_code for r in responses], request.headers.multi_items() == before]


@case
async def many(way: Any, client: Any, calls: str) -> list[int]:
    def one(number: int) -> Any:
        return client.get(f"{TARGET}/echo?n={number}", timeout=30)

    return [r.status_code for r in await way.many(one, list(range(int(calls))))]


@app.get("/module")
def module() -> int:
    return httpx.get(f"{TARGET}/echo", trust_env=False).status_code


@app.get("/cancel/{how}")
async def cancel(how: str) -> str:
    async with httpx.AsyncClient(trust_env=False) as client:
        if how == "wait-for":
            try:
                await asyncio.wait_for(client.get(f"{TARGET}/hang"), 0.2)
            except asyncio.TimeoutError:
                return "timeout"
        task = asyncio.create_task(client.get(f"{TARGET}/hang"))
        await asyncio.sleep(0.2)
        task.cancel()
        return type((await asyncio.gather(task, return_exceptions=True))[0]).__name__


@app.get("/inner")
async def inner() -> str:
    return "inside"


@app.get("/asgi")
async def asgi() -> str:
    """The application calls itself, without a wire."""
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://self") as client:
        return str((await client.get("/inner")).json())


@app.get("/nested")
async def nested() -> list[str]:
    """A transport that asks for a token first, by a client of its own."""

    class Token(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            async with httpx.AsyncClient(trust_env=False) as other:
                await other.get(f"{TARGET}/token")
            return await super().handle_async_request(request)

    async with httpx.AsyncClient(transport=Token()) as client:
        return [str((await client.get(f"{TARGET}/echo")).status_code)]
