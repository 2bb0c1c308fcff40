"""A service with the resources of Twisted: python twisted_service.py PORT."""

import json
import os
import sys

from twisted.internet import endpoints, reactor
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from authotron.client import Verifier
from authotron.client.twisted import Protected, user_of

verifier = Verifier(
    os.environ["AUTHOTRON_ISSUER"],
    audience="archive",
    jwks_url=os.environ.get("AUTHOTRON_JWKS_URL"),
)


class Hello(Resource):
    def render_GET(self, request: Request) -> bytes:
        user = user_of(request)
        return json.dumps({"user": user.username, "realm": user.realm}).encode()


class Reports(Resource):
    def render_GET(self, request: Request) -> bytes:
        return json.dumps({"reports": [f"report of {user_of(request).username}"]}).encode()


root = Resource()
root.putChild(b"", Protected(Hello(), verifier))
root.putChild(b"reports", Protected(Reports(), verifier, "reader"))

if __name__ == "__main__":
    endpoints.serverFromString(reactor, f"tcp:{sys.argv[1]}:interface=127.0.0.1").listen(Site(root))
    reactor.run()
