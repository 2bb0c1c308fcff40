"""What the log says of configurations that are taken over, by one process or several."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.logger import Logger

from authotron.config.check import Config

FAILED = "reload failed for a reason of its own; the configuration in use stays"
"""What is said of a reload that failed because of a defect, which the log names."""

_SOCKETS = {"host", "port", "listen"}
_OF_REQUESTS = {"grace", "trusted_proxies", "forwarded", "insecure"}
"""Keys of C{server} that one process takes over; new workers take over all but the sockets."""


def tell_warnings(to: Logger, config: Config) -> None:
    """What an operator should hear about a configuration that is in use."""
    for warning in config.warnings:  # as "warning" it would be an event of Python's warnings
        to.warn("{notice}", notice=warning, event="startup.config.warning")


def tell_refused(to: Logger, problems: Iterable[str]) -> None:
    """Why a configuration cannot be used."""
    for problem in problems:
        to.error("not usable: {problem}", problem=problem, event="startup.config.refused")


def tell_adopted(to: Logger, first: Config, now: Config, *, several: bool) -> None:
    """
    That another configuration is in use, and whether all of it.

    @param first: what the process began with, and cannot leave but by a restart.
    @param several: whether workers serve, and all of them are new.
    """
    tell_warnings(to, now)
    if _left(first, several=several) != _left(now, several=several):
        to.warn(
            "what changed in server and metrics takes effect after a restart",
            event="startup.config.restart",
        )
    to.info("the configuration was read again", event="startup.config.reloaded")


def _left(config: Config, *, several: bool) -> object:
    """What a reload leaves as it was."""
    server = config.file.server
    left = (
        server.model_dump(include=_SOCKETS) if several else server.model_dump(exclude=_OF_REQUESTS)
    )
    return left, config.file.metrics
