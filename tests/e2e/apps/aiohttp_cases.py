# SPDX-License-Identifier: MIT
"""aiohttp's client in all the ways that services use it: /case/NAME. Words with "hush" are secrets.

TARGET_URL is a server that does as it is told, TLS_URL one with the certificate of TLS_CA, PROXY_URL
a proxy to the former and TUNNEL_URL one to the latter, CLOSED_URL a closed port.
"""

import asyncio
import gc
import os
import ssl
from collections.abc import Callable
from typing import Any

import aiohttp
from fastapi import FastAPI, Request, WebSocket

TARGET = os.environ["TARGET_URL"]
app = FastAPI()
cases: dict[str, Callable[..., Any]] = {}


def case(function: Callable[..., Any]) -> Callable[..., Any]:
    cases[function.__name__.replace("_", "-")] = function
    return function


@app.get("/case/{name}")
async def run_case(name: str, request: Request) -> Any:
    query = {key: value for key, value in request.query_params.items()}
    async with aiohttp.ClientSession() as session:
        return await cases[name](session, **query)


def described(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """What an application sees of an exchange."""
    info = response.request_info
    return {
        "status": [response.status, response.reason, str(response.version)],
        "url": [str(response.url), str(response.real_url)],
        "history": [hop.status for hop in response.history],
        "headers": [pair for pair in response.headers.items() if pair[0] != "Date"],
        "request": [info.method, str(info.url), list(info.headers.items())],
        "closed": response.closed,
        # _faa_span is there as long as the body is not complete, and then gone.
        "attributes": sorted(set(vars(response)) - {"_ClientResponse__writer", "_faa_span"}),
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
        return found
    raise AssertionError("did not fail")


async def fetch(session: aiohttp.ClientSession, url: str, method: str = "GET", **options: Any) -> Any:
    async with session.request(method, url, **options) as response:
        await response.read()
        return described(response)


@case
async def get(session: Any, path: str = "/echo", method: str = "GET") -> Any:
    return await fetch(session, TARGET + path, method)


@case
async def based(session: Any) -> Any:
    async with aiohttp.ClientSession(TARGET, headers={"X-Own": "1"}) as other:
        response = await other.get("/echo", params={"page": "7"})
        return [await response.json(), list(other.headers.items())]


@case
async def function(session: Any) -> int:
    async with aiohttp.request("GET", f"{TARGET}/echo") as response:
        return response.status


@case
async def post(session: Any, length: str = "10") -> Any:
    async def body() -> Any:
        for _ in range(3):
            await asyncio.sleep(0.001)
            yield b"x" * int(length)

    return await fetch(session, f"{TARGET}/echo", "POST", data=body())


@case
async def tls(session: Any) -> Any:
    context = ssl.create_default_context(cafile=os.environ["TLS_CA"])
    return (await fetch(session, os.environ["TLS_URL"] + "/echo", ssl=context))["status"]


@case
async def secrets(session: Any) -> Any:
    url = TARGET.replace("//", "//bob:hush-1@") + "/echo?sig=hush-2&page=7#part"
    return (await fetch(session, url))["status"][0]


@case
async def too_many(session: Any) -> Any:
    return await failure(fetch(session, f"{TARGET}/redirect/9", max_redirects=3))


@case
async def astray(session: Any, answer: str) -> Any:
    return await failure(fetch(session, f"{TARGET}/raw/{answer}"))


@case
async def raise_for_status(session: Any) -> Any:
    return await failure(fetch(session, f"{TARGET}/status/404", raise_for_status=True))


@case
async def fails(session: Any, how: str) -> Any:
    url = {
        "refused": os.environ["CLOSED_URL"],
        "tls": os.environ["TLS_URL"],
        "name": "http://no.such.host.invalid",
        "timeout": f"{TARGET}/hang",
        "sock-read": f"{TARGET}/hang",
    }.get(how, f"{TARGET}/raw/{how}")
    timeout = aiohttp.ClientTimeout(0.3 if how == "timeout" else None, sock_read=0.3)
    return await failure(fetch(session, f"{url}?sig=hush-4&page=7", timeout=timeout))


@case
async def invalid(session: Any) -> Any:
    return await failure(fetch(session, "http://"))


@case
async def raw(session: Any, answer: str) -> Any:
    """Whatever comes of an answer of any bytes."""
    try:
        async with session.get(f"{TARGET}/raw/{answer}") as response:
            return [described(response), await response.text(errors="replace")]
    except Exception as error:
        return [type(error).__name__, str(error)]


@case
async def retry(session: Any, key: str) -> Any:
    """The server hangs up on a connection that was kept alive: aiohttp asks once more."""
    await fetch(session, f"{TARGET}/echo")
    return (await fetch(session, f"{TARGET}/drop/{key}/1"))["status"][0]


@case
async def middlewares(session: Any, key: str) -> Any:
    """One asks for a token first and sees the request's headers, another sends again."""
    seen: list[str] = []

    async def token(request: Any, handler: Any) -> Any:
        async with request.session.get(f"{TARGET}/token", middlewares=()) as answer:
            await answer.read()
        response = await handler(request)
        seen.extend(request.headers)
        return response

    async def again(request: Any, handler: Any) -> Any:
        response = await handler(request)
        while response.status == 503:
            response.release()
            response = await handler(request)
        return response

    url = f"{TARGET}/fail/{key}/2/503"
    answer = await fetch(session, url, middlewares=(token, again))
    return [answer["status"][0], seen]


@case
async def digest(session: Any) -> Any:
    auth = aiohttp.DigestAuthMiddleware("bob", "hush-3")
    return (await fetch(session, f"{TARGET}/digest", middlewares=(auth,)))["status"][0]


# Bodies.


@case
async def gated(session: Any, key: str) -> str:
    """The body's second half comes when another call has asked for it."""
    async with session.get(f"{TARGET}/gated/{key}") as response:
        first = await response.content.readany()
        await fetch(session, f"{TARGET}/open/{key}")
        return (first + await response.content.read()).decode()


@case
async def left(session: Any, how: str) -> int:
    """The body is not read, and then the next call follows."""
    async with aiohttp.ClientSession() as other:
        await leave(await other.get(f"{TARGET}/gated/{os.urandom(4).hex()}"), how)
    await asyncio.sleep(0.01)  # The connection's end is told by the loop, and it knew the response.
    gc.collect()
    return (await fetch(session, f"{TARGET}/echo"))["status"][0]


async def leave(response: aiohttp.ClientResponse, how: str) -> None:
    if how == "closed":
        response.close()
    elif how == "released":
        response.release()
    elif how == "context":
        async with response:
            pass


@case
async def broken(session: Any, answer: str, how: str) -> Any:
    async def read() -> None:
        async with session.get(f"{TARGET}/raw/{answer}") as response:
            if how == "whole":
                await response.read()
            async for _ in response.content.iter_any():
                pass

    found = await failure(read())
    await fetch(session, f"{TARGET}/echo")
    return found


@case
async def slow(session: Any, how: str) -> Any:
    """A total timeout strikes while the body is read."""

    async def read() -> None:
        url = f"{TARGET}/gated/{os.urandom(4).hex()}"
        async with session.get(url, timeout=aiohttp.ClientTimeout(0.3)) as response:
            await (response.read() if how == "whole" else response.content.read())

    try:
        raise TimeoutError("of somebody else")
    except TimeoutError:
        response = await session.get(f"{TARGET}/gated/{os.urandom(4).hex()}")
        response.release()
    return await failure(read())


# Ways over the wire.


@case
async def proxy(session: Any, how: str) -> int:
    """The host does not exist: only the proxy leads to it."""
    url = os.environ["PROXY_URL" if how == "plain" else "TUNNEL_URL"]
    context = ssl.create_default_context(cafile=os.environ["TLS_CA"])
    target = f"{'http' if how == 'plain' else 'https'}://shop.invalid/echo"
    proxy = url.replace("//", "//bob:hush-5@")
    return (await fetch(session, target, proxy=proxy, ssl=context))["status"][0]


@app.websocket("/ws")
async def websocket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(socket.headers.get("traceparent", "none"))
    await socket.receive_text()
    await socket.close()


@app.get("/ws-connect")
async def ws_connect(request: Request) -> Any:
    async with aiohttp.ClientSession() as session:
        url = str(request.base_url).replace("http:", "ws:")
        async with session.ws_connect(f"{url}ws") as socket:
            trace = await socket.receive_str()
            await fetch(session, f"{TARGET}/echo")
            await socket.send_str("bye")
            await socket.receive()
        return [trace, await failure(session.ws_connect(f"{TARGET}/status/404"))]


@case
async def many(session: Any, calls: str) -> list[int]:
    urls = [f"{TARGET}/echo?n={number}" for number in range(int(calls))]
    return [a["status"][0] for a in await asyncio.gather(*(fetch(session, url) for url in urls))]


@case
async def cancel(session: Any, how: str) -> str:
    if how == "wait-for":
        try:
            await asyncio.wait_for(fetch(session, f"{TARGET}/hang"), 0.2)
        except asyncio.TimeoutError:
            return "timeout"
    task = asyncio.create_task(fetch(session, f"{TARGET}/hang"))
    await asyncio.sleep(0.2)
    task.cancel()
    return type((await asyncio.gather(task, return_exceptions=True))[0]).__name__


@case
async def own(session: Any) -> Any:
    mine = {"TraceParent": f"00-{'a' * 32}-{'b' * 16}-01"}
    await fetch(session, f"{TARGET}/echo", headers=mine)
    return (await fetch(session, f"{TARGET}/echo", headers={"tracestate": "mine=1"}))["status"][0]


@case
async def unchanged(session: Any) -> Any:
    """The application's own tracing sees what it sees without us."""
    seen: list[Any] = []
    config = aiohttp.TraceConfig()

    def noting(name: str) -> Any:
        async def note(session: Any, context: Any, params: Any) -> None:
            seen.append([name, sorted(getattr(params, "headers", None) or [])])

        return note

    for name in ("request_start", "request_end", "request_redirect", "response_chunk_received"):
        getattr(config, f"on_{name}").append(noting(name))
    headers = {"X-Own": "1"}
    async with aiohttp.ClientSession(trace_configs=[config]) as other:
        answer = await fetch(other, f"{TARGET}/redirect/1", headers=headers)
    names = [aiohttp.ClientSession._request.__qualname__, aiohttp.ClientResponse.close.__doc__]
    return [answer, headers, seen, names, len(session.trace_configs)]
