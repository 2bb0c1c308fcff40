"""What several proxies do in another way than the contract says."""

from __future__ import annotations

import signal

from tests.functional import wire
from tests.functional.proxies.around import gateway
from tests.functional.proxies.contract import GOOD, ProxyContract
from tests.functional.proxies.features import instead
from tests.waiting import until


class WaitsThirtySeconds(ProxyContract):
    """A proxy that always waits 30 seconds for the gateway."""

    @instead("waits on, nothing passes")
    def test_gateway_stopped_T60(self) -> None:
        """Nothing passes while the gateway does not answer; its late answer counts."""
        heads = self.around.service.heads
        heads.clear()
        second, door = gateway().second, self.around.other_door
        door.shut()
        door.unlock()
        before = door.connections
        second.tell(signal.SIGSTOP)
        try:
            with self.connect(self.around.other.port) as connection:
                connection.sendall(wire.head("/", [("Authorization", GOOD)]))
                until(lambda: door.connections > before, "asking")
                self.assertEqual(heads, [])
                second.tell(signal.SIGCONT)
                answer = wire.receive(connection)
        finally:
            second.tell(signal.SIGCONT)
        self.assertEqual(answer and answer.status, 200)
        self.assertEqual(len(heads), 1)
