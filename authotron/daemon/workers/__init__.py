"""Several processes that serve the same sockets, and their supervisor."""
