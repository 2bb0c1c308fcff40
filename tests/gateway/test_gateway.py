"""What changes when another configuration is put into use."""

from __future__ import annotations

import jwt
from twisted.trial.unittest import SynchronousTestCase

from tests.web.conversations import ALICE, InMemoryGateway

OLD = "the old secret that is long enough for HS256"
NEW = "the new secret that is long enough for HS256"


class RotationTests(SynchronousTestCase):
    """The signing key changes while decisions are remembered."""

    def test_no_retired_key_T48(self) -> None:
        """After the change no JWT is handed out that the retired key signed, on either way."""
        gateway, next_ = (InMemoryGateway({"jwt": {"secret": secret}}) for secret in (OLD, NEW))
        for secret in (OLD, NEW):
            for site in (gateway.entrance, gateway.public) * 2:
                answer = gateway.ask("GET /authenticate", site, Authorization=ALICE)
                token = answer.headers["authorization"].split()[1]
                self.assertTrue(jwt.api_jws.decode(token, secret, ["HS256"]))
            gateway.serving.gateway = next_.serving.gateway
