# SPDX-License-Identifier: MIT
"""Statements, exceptions and URLs with secrets in them: words with "hush" and the number 471147.

POSTGRESQL and MARIADB are SQLAlchemy's URLs of real servers, TARGET_URL is an HTTP server.
"""

import os
from typing import Annotated, Any

import requests
from fastapi import Body, FastAPI
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

app = FastAPI()
session = requests.Session()
session.trust_env = False
engines: dict[str, Engine] = {"sqlite": create_engine("sqlite://")}


def engine(name: str) -> Engine:
    if name not in engines:
        engines[name] = create_engine(os.environ[name.upper()])
    return engines[name]


@app.post("/execute/{name}")
def execute(name: str, statement: Annotated[str, Body()]) -> Any:
    """Executes a statement as it is, and answers with its rows or with its exception."""
    try:
        with engine(name).begin() as connection:
            result = connection.exec_driver_sql(statement)
            return [list(row) for row in result] if result.returns_rows else []
    except SQLAlchemyError as error:
        return str(error)


@app.post("/unhandled/{name}")
def unhandled(name: str, statement: Annotated[str, Body()]) -> None:
    """The same where the exception leaves the request."""
    with engine(name).begin() as connection:
        connection.execute(text(statement))


@app.get("/raises")
def raises() -> None:
    raise RuntimeError("no answer from host=h password=hush-1 {'token': 'hush-2'} ssn=hush-3")


@app.get("/call")
def call() -> int:
    """An exchange with secrets in the query, one of them by a name of our own."""
    url = os.environ["TARGET_URL"] + "/echo?a=1&Card-Number=hush-4&ssn=hush-5&token=hush-6"
    return session.get(url).status_code
