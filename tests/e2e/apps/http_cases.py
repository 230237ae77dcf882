# SPDX-License-Identifier: MIT
"""requests in the ways that client.py leaves out. Words with "hush" are secrets.

TARGET_URL is a good server, RAW_URL one that answers with something that is no HTTP,
OLD_URL one that speaks HTTP/1.0, CLOSED_URL a closed port.
"""

import os
import re
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import requests
import urllib3
from fastapi import FastAPI
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import HTTPBasicAuth, HTTPDigestAuth
from urllib3.util import Retry

TARGET = os.environ["TARGET_URL"]
app = FastAPI()


def session(kind: type[requests.Session] = requests.Session) -> requests.Session:
    one = kind()
    one.trust_env = False
    return one


def described(response: requests.Response) -> dict[str, Any]:
    """What an application sees of an exchange."""
    request = response.request
    return {
        "status": response.status_code,
        "url": response.url,
        "history": [hop.status_code for hop in response.history],
        "request": [type(request).__name__, request.method, request.url, dict(request.headers)],
        "body": response.text,
    }


def plain(text: str) -> str:
    """Returns a text without addresses of objects."""
    return re.sub("0x[0-9a-f]+", "0xADDRESS", text)


def failure(url: str, **options: Any) -> list[Any]:
    """The exception and its causes, with all that an application can read of them."""
    try:
        session().get(url, **options)
    except Exception as error:
        found: list[Any] = [plain(traceback.format_exc())]
        cause: BaseException | None = error
        while cause is not None:
            found.append([type(cause).__name__, plain(str(cause)), len(cause.args)])
            cause = cause.__cause__ or cause.__context__
        request = getattr(error, "request", None)
        return [*found, request and [request.url, dict(request.headers)]]
    raise AssertionError("did not fail")


@app.get("/fails/refused")
def refused() -> list[Any]:
    closed = os.environ["CLOSED_URL"].removeprefix("http://")
    return failure(f"http://bob:hush-1@{closed}/path?sig=hush-2&token=hush-3&page=7")


@app.get("/fails/timeout")
def timeout() -> list[Any]:
    return failure(f"{TARGET}/hang?Signature=hush-4", timeout=0.1)


@app.get("/fails/tls")
def tls() -> list[Any]:
    return failure(TARGET.replace("http:", "https:") + "/?sig=hush-5")


@app.get("/fails/invalid")
def invalid() -> list[Any]:
    return failure(os.environ["RAW_URL"] + "/?sig=hush-6")


@app.get("/fails/name")
def name() -> list[Any]:
    return failure("http://no.such.host.invalid/?sig=hush-7")


@app.get("/fails/unhandled")
def unhandled() -> None:
    closed = os.environ["CLOSED_URL"].removeprefix("http://")
    session().get(f"http://bob:hush-8@{closed}/?sig=hush-9")


@app.get("/old")
def old() -> dict[str, Any]:
    return described(session().get(os.environ["OLD_URL"]))


@app.get("/unchanged")
def unchanged() -> dict[str, Any]:
    """Everything that the application can look at afterwards, the hook's view included."""
    seen: list[Any] = []

    def hook(response: requests.Response, **options: Any) -> None:
        seen.append([response.status_code, sorted(response.request.headers), sorted(options)])

    prepared = session().prepare_request(
        requests.Request("POST", f"{TARGET}/echo", data="body", headers={"X-Own": "1"})
    )
    headers, before = prepared.headers, list(prepared.headers.items())
    prepared.hooks["response"].append(hook)
    response = session().send(prepared)
    return {
        "same": [response.request is prepared, prepared.headers is headers],
        "headers": [before, list(prepared.headers.items())],
        "hook": seen,
        "status": response.status_code,
        "elapsed": response.elapsed.total_seconds() > 0,
        "adapter": [HTTPAdapter.send.__name__, HTTPAdapter.send.__qualname__],
        "instance": sorted(vars(HTTPAdapter())),
    }


@app.get("/twice")
def twice() -> list[int]:
    one = session()
    prepared = one.prepare_request(requests.Request("GET", f"{TARGET}/echo"))
    return [one.send(prepared).status_code for _ in range(2)]


@app.get("/shared")
def shared() -> list[Any]:
    """Two threads send one prepared request at the same time; nobody answers them."""
    prepared = session().prepare_request(requests.Request("GET", f"{TARGET}/hang"))
    before = dict(prepared.headers)

    def send() -> str:
        try:
            session().send(prepared, timeout=0.3)
        except requests.Timeout as error:
            return type(error).__name__
        return "answered"

    with ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(copy_context().run, send) for _ in range(2)]
        outcomes = [task.result() for task in tasks]
    return [*outcomes, dict(prepared.headers) == before]


class Subclass(requests.Session):
    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        options.setdefault("headers", {})["X-Subclass"] = "1"
        return super().request(method, url, *args, **options)


@app.get("/subclass")
def subclass() -> int:
    return session(Subclass).get(f"{TARGET}/echo").status_code


class Positional(HTTPAdapter):
    def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
        request.headers["X-Adapter"] = "positional"
        return super().send(request, *args, **options)


class Keyword(HTTPAdapter):
    def send(self, request: Any, **options: Any) -> requests.Response:
        return super().send(request=request, **options)


class Unbound(HTTPAdapter):
    def send(self, *args: Any, **options: Any) -> requests.Response:
        return HTTPAdapter.send(self, *args, **options)


ADAPTERS = {"positional": Positional, "keyword": Keyword, "unbound": Unbound}


@app.get("/adapter/{kind}")
def adapter(kind: str) -> int:
    one = session()
    one.mount("http://", ADAPTERS[kind]())
    return one.get(f"{TARGET}/echo").status_code


class Canned(BaseAdapter):
    """No exchange takes place at all, as in a test with a mock."""

    def send(self, request: Any, **options: Any) -> requests.Response:
        response = requests.Response()
        response.status_code, response.request, response.url = 200, request, request.url
        response._content = b"canned"
        return response

    def close(self) -> None:
        pass


@app.get("/canned")
def canned() -> str:
    one = session()
    one.mount("mock://", Canned())
    return one.get("mock://anything/").text


@app.get("/stream")
def stream() -> bool:
    with session().get(f"{TARGET}/echo", stream=True) as response:
        return len(b"".join(response.iter_content(16))) > 0


@app.get("/retry")
def retry() -> int:
    """urllib3 sends three times and gives the last answer."""
    one = session()
    policy = Retry(total=2, status_forcelist=[503], backoff_factor=0, raise_on_status=False)
    one.mount("http://", HTTPAdapter(max_retries=policy))
    return one.get(f"{TARGET}/status/503").status_code


@app.get("/retry/raises")
def retry_raises() -> str:
    one = session()
    one.mount("http://", HTTPAdapter(max_retries=Retry(total=1, status_forcelist=[503])))
    try:
        one.get(f"{TARGET}/status/503?sig=hush-10")
    except requests.exceptions.RetryError as error:
        return type(error).__name__
    return "no error"


@app.get("/retry/pauses")
def retry_pauses() -> int:
    """urllib3 waits 0.2 s before it sends a third time."""
    one = session()
    policy = Retry(total=3, status_forcelist=[503], backoff_factor=0.1)
    one.mount("http://", HTTPAdapter(max_retries=policy))
    return one.get(f"{TARGET}/fail/pauses/2/503").status_code


@app.get("/retry/dropped")
def retry_dropped() -> int:
    one = session()
    one.mount("http://", HTTPAdapter(max_retries=Retry(total=1, read=1)))
    return one.get(f"{TARGET}/drop/dropped/1").status_code


@app.get("/retry/redirected")
def retry_redirected() -> int:
    """A redirect to what has to be asked three times."""
    one = session()
    one.mount("http://", HTTPAdapter(max_retries=Retry(total=3, status_forcelist=[503])))
    return one.get(f"{TARGET}/redirect-to?url=/fail/redirected/2/503").status_code


@app.get("/auth/{scheme}")
def auth(scheme: str) -> int:
    kind = {"basic": HTTPBasicAuth, "digest": HTTPDigestAuth}[scheme]
    return session().get(f"{TARGET}/{scheme}", auth=kind("bob", "hush-11")).status_code


@app.get("/counted")
def counted() -> list[int]:
    """A hook asks for a token after each answer that is no token itself."""
    one = session()
    statuses: list[int] = []

    def fetch(response: requests.Response, **options: Any) -> None:
        statuses.append(one.get(f"{TARGET}/token").status_code)

    one.get(f"{TARGET}/redirect/1", hooks={"response": fetch})
    statuses.append(one.get(f"{TARGET}/last").status_code)
    return statuses


@app.get("/upload")
def upload() -> list[Any]:
    """The body is made of what others answer while it is sent."""
    got = []

    def body() -> Iterator[bytes]:
        for name, text in (
            ("requests", session().get(f"{TARGET}/by-requests").text),
            ("urllib3", urllib3.PoolManager().request("GET", f"{TARGET}/by-urllib3").data),
        ):
            got.append(f"bytes by {name}, " if text else "nothing, ")
            yield got[-1].encode()

    status = session().post(f"{TARGET}/upload", data=body()).status_code
    return [status, "".join(got)]


@app.get("/proxy")
def proxy() -> int:
    """The target is the proxy to a host that does not exist."""
    answer = session().get("http://shop.invalid/echo", proxies={"http": TARGET})
    return answer.status_code


@app.get("/redirect")
def redirect() -> dict[str, Any]:
    one = session()
    return described(one.get(f"{TARGET}/redirect/2", headers={"X-Own": "1"}))


@app.get("/redirect/manual")
def redirect_manual() -> list[int]:
    """The application follows by itself; each hop is prepared by requests."""
    one = session()
    first = one.get(f"{TARGET}/redirect/2", allow_redirects=False)
    return [hop.status_code for hop in one.resolve_redirects(first, first.request)]


@app.get("/resend")
def resend() -> list[int]:
    """As requests' own digest authentication: a hook sends again through the same adapter."""

    def again(response: requests.Response, **options: Any) -> requests.Response:
        if "X-Again" in response.request.headers:
            return response
        prepared = response.request.copy()
        prepared.headers["X-Again"] = "1"
        second = response.connection.send(prepared, **options)
        second.history.append(response)
        second.request = prepared
        return second

    answer = session().get(f"{TARGET}/status/401", hooks={"response": again})
    return [answer.status_code, len(answer.history)]


@app.get("/again")
def again() -> list[int]:
    """Calls with one prepared request, and with a copy of it, that the application makes."""
    one = session()
    prepared = one.prepare_request(requests.Request("GET", f"{TARGET}/status/503"))
    sent = [prepared, prepared, prepared.copy()]
    return [one.send(request).status_code for request in sent]


class Persistent(HTTPAdapter):
    def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
        super().send(request, *args, **options).close()
        return super().send(request, *args, **options)


@app.get("/persistent")
def persistent() -> list[int]:
    """An adapter sends one request twice; so does the hook of an authentication."""
    one = session()
    one.mount("http://", Persistent())

    def resend(response: requests.Response, **options: Any) -> requests.Response:
        return HTTPAdapter().send(response.request)

    answers = [
        one.get(f"{TARGET}/status/503"),
        session().get(f"{TARGET}/status/401", hooks={"response": resend}),
    ]
    return [answer.status_code for answer in answers]


@app.get("/copied")
def copied() -> list[int]:
    """A context that was copied while a request was sent, and is used when that is over."""
    contexts: list[Any] = []

    def body() -> Iterator[bytes]:
        contexts.append(copy_context())
        yield b"body"

    one = session()
    first = one.post(f"{TARGET}/upload", data=body())
    second = contexts[0].run(one.get, f"{TARGET}/echo")
    return [first.status_code, second.status_code, one.get(f"{TARGET}/last").status_code]


@app.get("/own")
def own() -> list[int]:
    """The application's own headers; the second has only a tracestate."""
    mine = {"Traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    one = session()
    return [
        one.get(f"{TARGET}/echo", headers=mine).status_code,
        one.get(f"{TARGET}/echo", headers={"tracestate": "mine=1"}).status_code,
    ]


@app.get("/raise-for-status")
def raise_for_status() -> str:
    try:
        session().get(f"{TARGET}/status/404").raise_for_status()
    except requests.HTTPError as error:
        return str(error).replace(TARGET, "TARGET")
    return "no error"
