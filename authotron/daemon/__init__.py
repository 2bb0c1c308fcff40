"""The Twisted service of the gateway: it composes the plugins, listens, reloads and drains."""
