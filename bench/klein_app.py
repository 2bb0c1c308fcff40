"""What is measured against: the same job in one Klein route, with Twisted's access log."""

from __future__ import annotations

import sys
import time
from typing import Any

from job import CHALLENGE, known_user, record, token_of
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import react
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.web.server import Site

app = Klein()


@app.route("/authenticate", methods=["GET"])
async def authenticate(request: Any) -> str:
    began = time.perf_counter()
    username = await known_user(request.getHeader("authorization"))
    took = time.perf_counter() - began
    if username is None:
        request.setResponseCode(401)
        request.setHeader("WWW-Authenticate", CHALLENGE)
        record(401, "failure", began, took)
        return "Unauthorized"
    request.setHeader("Authorization", f"Bearer {await token_of(username)}")
    record(200, "success", began, took)
    return ""


def main(port: str) -> None:
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)

    async def serve(reactor: Any) -> None:
        endpoint = serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1")
        await endpoint.listen(Site(app.resource()))
        await Deferred()

    react(serve)


if __name__ == "__main__":
    main(sys.argv[1])
