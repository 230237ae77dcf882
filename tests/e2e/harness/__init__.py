# SPDX-License-Identifier: MIT
"""What the end-to-end tests stand on; the fixtures in conftest.py hand it out.

def test_request_is_a_span(run: Runner, receiver: HttpReceiver) -> None:
    server = run.uvicorn("basic_fastapi:app", env=receiver.env)
    assert server.get("/items/3").status_code == 200
    assert server.stop() == -signal.SIGTERM
    assert_tree(receiver.wait(1), ("GET /items/{item_id}", "SERVER"))
    assert one(receiver.spans).attributes["http.response.status_code"] == 200
"""
