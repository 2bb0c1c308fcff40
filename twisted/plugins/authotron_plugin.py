"""Makes C{authotron} known to C{twistd}."""

from twisted.application.service import ServiceMaker

authotron = ServiceMaker(
    "authotron",
    "authotron.daemon.tap",
    "An authentication gateway beside a reverse proxy",
    "authotron",
)

__all__ = ["authotron"]
