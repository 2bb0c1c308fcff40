"""Servers that fork after the service has begun to verify."""

from __future__ import annotations

import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.backends.wheels import ROOT, run

SCRIPT = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
import os, threading, time
from authotron.client import User
from authotron.client.testing import FakeGateway

gateway, go, begun = FakeGateway(), threading.Event(), threading.Event()
gateway.add_token(User("internal", "alice"), "opaque")
answer, parent = gateway.answer, os.getpid()

def slowly(*args, **options):
    if os.getpid() == parent:
        begun.set()
        go.wait(20)
    return answer(*args, **options)

gateway.answer = slowly
verifier, client = gateway.verifier(), gateway.client(timeout=60)
token = gateway.mint(User("internal", "alice"))
waiting = threading.Thread(target=verifier.verify, args=(token,))
waiting.start()
begun.wait(20)
child = os.fork()
if not child:
    assert verifier.verify(token).username == "alice"
    assert client.authenticate("Bearer opaque").user.username == "alice"
    os._exit(0)
status = os.waitpid(child, 0)[1]
go.set()
waiting.join()
sys.exit(os.waitstatus_to_exitcode(status))
"""


class ForkTests(SynchronousTestCase):
    """A process that forks while a thread fetches the keys."""

    def test_child_does_not_wait_for_a_thread_of_its_parent(self) -> None:
        """The child fetches the keys by itself: the thread of the parent does not exist there."""
        run(sys.executable, "-c", SCRIPT)
