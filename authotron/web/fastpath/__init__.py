"""The fast path: answers simple requests from the bytes of a connection, without Klein."""
