"""Run the gateway in the foreground, in the same way as the program C{twistd} runs a service."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from twisted.application import app
from twisted.scripts import twistd

from twisted.plugins.authotron_plugin import authotron


class _Options(twistd.ServerOptions):  # type: ignore[misc, name-defined] # Twisted chooses the class by the platform
    """
    The options of C{twistd}, which find only the plugin of the gateway.

    A search for plugins would import the interfaces of all plugins of Twisted, and with them the
    package unittest. The import of the plugin interfaces would take 1.5 MiB of memory and 30 ms.
    """

    subCommands = ((authotron.tapname, None, lambda: authotron.options(), authotron.description),)  # noqa: PLW0108 - twistd reads the options last
    loadedPlugins = {authotron.tapname: authotron}  # noqa: RUF012 - the form that twistd expects


def run(arguments: Sequence[str]) -> None:
    """
    Run C{twistd authotron} in the foreground.

    @param arguments: the options of C{twistd authotron}.
    """
    sys.argv = ["twistd", "--nodaemon", "--pidfile=", authotron.tapname, *arguments]
    app.run(twistd.runApp, _Options)
