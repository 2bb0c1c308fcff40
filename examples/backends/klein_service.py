"""A service with Klein: python klein_service.py PORT."""

import json
import os
import sys

from klein import Klein
from twisted.web.iweb import IRequest

from authotron.client import User, Verifier
from authotron.client.klein import authenticated

verifier = Verifier(
    os.environ["AUTHOTRON_ISSUER"],
    audience="archive",
    jwks_url=os.environ.get("AUTHOTRON_JWKS_URL"),
)
app = Klein()


@app.route("/")
@authenticated(verifier)
def hello(request: IRequest, user: User) -> str:
    return json.dumps({"user": user.username, "realm": user.realm})


@app.route("/reports")
@authenticated(verifier, "reader")
async def reports(request: IRequest, user: User) -> str:
    return json.dumps({"reports": [f"report of {user.username}"]})


if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]))
