"""A tour of the shop: one request of each kind, a line for each. Usage: tour.py URL"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect


class WrongTurn(Exception):
    """A request did not go as it should."""


class Tour:
    def __init__(self, url: str) -> None:
        self.address = urlsplit(url).netloc

    def send(self, method: str, path: str, expected: int, note: str, body: object = None) -> str:
        connection = HTTPConnection(self.address, timeout=10)
        headers = {"Content-Type": "application/json"}
        started = time.monotonic()
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            answer = response.read().decode()
        except (OSError, HTTPException) as error:
            raise WrongTurn(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        show(method, path, response.status, started, note)
        if response.status != expected:
            wrong = f"expected {expected}, got {response.status}: {answer}"
            raise WrongTurn(f"{method} {path}: {wrong}")
        return answer

    def listen(self, path: str, messages: int, note: str) -> None:
        started = time.monotonic()
        try:
            with connect(f"ws://{self.address}{path}", open_timeout=10, proxy=None) as ticker:
                for _ in range(messages):
                    ticker.recv(timeout=10)
        except (OSError, WebSocketException) as error:
            raise WrongTurn(f"WS {path}: {error!r}") from error
        show("WS", path, 101, started, note)


def show(method: str, path: str, status: int, started: float, note: str) -> None:
    milliseconds = (time.monotonic() - started) * 1000
    print(f"  {method:<5}{path:<26}{status}{milliseconds:>7.0f} ms   {note}", flush=True)


def order(item_id: int, quantity: int) -> dict[str, object]:
    return {"customer": "ada@example.com", "lines": [{"item_id": item_id, "quantity": quantity}]}


def run(url: str) -> None:
    tour = Tour(url)
    tour.send("GET", "/items?in_stock=true", 200, "async SQL")
    tour.send("GET", "/items/1", 200, "SQL in a thread, price from the second service")
    tour.send("GET", "/items/999", 404, "no such item")
    tour.send("GET", "/items/mug", 422, "not a number")
    created = tour.send("POST", "/orders", 201, "confirmed by a background task", order(1, 2))
    order_id = json.loads(created)["id"]
    tour.send("POST", "/orders", 422, "none ordered", order(1, 0))
    tour.send("POST", "/orders", 409, "more than in stock", order(3, 9999))
    tour.send("GET", f"/orders/{order_id}", 200, "order and lines")
    tour.send("GET", f"/orders/{order_id}/lines", 200, "nested router")
    tour.send("GET", "/reports/summary", 200, "two SQL statements at once")
    tour.send("GET", "/reports/orders.csv", 200, "streamed")
    tour.send("GET", "/reports/valuation", 200, "slow: one price after the other")
    tour.send("GET", "/reports/restock", 500, "unhandled ZeroDivisionError")
    tour.send("GET", "/nowhere", 404, "no route")
    tour.listen("/ticker", 3, "WebSocket, three messages")
    with ThreadPoolExecutor(5) as pool:
        paths = [f"/items/{item_id}" for item_id in range(1, 6)]
        list(pool.map(lambda path: tour.send("GET", path, 200, "at the same time"), paths))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} URL")
    try:
        run(sys.argv[1])
    except WrongTurn as wrong:
        sys.exit(f"tour: {wrong}")
    except KeyboardInterrupt:
        sys.exit(130)
