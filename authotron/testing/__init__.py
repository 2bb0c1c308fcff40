"""Contract tests, a World without a network, fake remotes and a backend, to test plugins with."""
