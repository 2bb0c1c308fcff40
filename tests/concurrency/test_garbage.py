"""When Python's garbage collector visits all objects."""

from __future__ import annotations

import gc
from typing import Any

from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from authotron.concurrency.garbage import exempt_from_collection, postpone_full_collections


class GarbageTests(SynchronousTestCase):
    """The start of a gateway."""

    def test_exempt_from_collection_T84a(self) -> None:
        """
        No full collection runs until the reactor starts. Then objects that exist are exempt, no
        collection delays the first answer, and full collections may run again.
        """
        done: list[str] = []
        before = gc.get_threshold()
        self.addCleanup(gc.set_threshold, *before)
        self.patch(gc, "collect", lambda: done.append("collect"))
        self.patch(gc, "freeze", lambda: done.append("freeze"))
        reactor: Any = MemoryReactor()
        postpone_full_collections()
        exempt_from_collection(reactor)
        self.assertEqual((done, gc.get_threshold()[:2]), ([], before[:2]))
        self.assertGreater(gc.get_threshold()[2], 1_000_000)
        reactor.run()
        self.assertEqual((done, gc.get_threshold()), (["freeze"], before))
