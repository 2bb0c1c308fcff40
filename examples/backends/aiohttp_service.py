"""A service with aiohttp: python aiohttp_service.py PORT."""

import os
import sys

from aiohttp import web

from authotron.client import Verifier
from authotron.client.aiohttp import authotron_middleware, requires, user_of

verifier = Verifier(
    os.environ["AUTHOTRON_ISSUER"],
    audience="archive",
    jwks_url=os.environ.get("AUTHOTRON_JWKS_URL"),
)


async def hello(request: web.Request) -> web.Response:
    user = user_of(request)
    return web.json_response({"user": user.username, "realm": user.realm})


@requires("reader")
async def reports(request: web.Request) -> web.Response:
    return web.json_response({"reports": [f"report of {user_of(request).username}"]})


app = web.Application(middlewares=[authotron_middleware(verifier)])
app.router.add_get("/", hello)
app.router.add_get("/reports", reports)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
