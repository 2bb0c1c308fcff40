"""The entry point of a worker process: choose the event loop, then run the worker."""

from __future__ import annotations

import os

from authotron.concurrency.garbage import postpone_full_collections
from authotron.daemon import event_loop, http_1, postponed
from authotron.model.errors import ConfigError


def main() -> None:
    """
    Install the reactor, and run a worker from its start to its end.

    @raise SystemExit: the wanted event loop, or the configuration, cannot be used (78).
    """
    postpone_full_collections()
    postponed.postpone()
    from authotron.daemon.tap import refused  # noqa: PLC0415 - imports what is postponed

    try:
        event_loop.choose(os.environ)
    except ConfigError as error:
        raise refused(error) from None
    http_1.import_http_1_alone()
    from authotron.daemon.workers import worker  # noqa: PLC0415 - imports the reactor

    worker.main()
