"""The same job for FastAPI and uvicorn, in an environment of its own."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Header, Response
from job import CHALLENGE, known_user, record, token_of

app = FastAPI()


@app.api_route("/authenticate", methods=["GET", "HEAD"])
async def authenticate(authorization: Annotated[str | None, Header()] = None) -> Response:
    began = time.perf_counter()
    username = await known_user(authorization)
    took = time.perf_counter() - began
    if username is None:
        record(401, "failure", began, took)
        return Response("Unauthorized", 401, {"WWW-Authenticate": CHALLENGE})
    token = await token_of(username)
    record(200, "success", began, took)
    return Response("", 200, {"Authorization": f"Bearer {token}"})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]))
