"""Makes C{authotron} known to C{twistd}, and the reactor on uvloop to C{twistd --reactor}."""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

authotron = ServiceMaker(
    "authotron",
    "authotron.daemon.tap",
    "An authentication gateway beside a reverse proxy",
    "authotron",
)

uvloop = Reactor("uvloop", "authotron.daemon.uvloop.reactor", "asyncio's loop on uvloop")

__all__ = ["authotron", "uvloop"]
