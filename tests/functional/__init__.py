"""The real daemon, started by C{twistd}, spoken to over real sockets and through the real nginx."""
