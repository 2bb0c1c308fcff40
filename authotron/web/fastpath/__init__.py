"""The fast path, which parses and answers simple requests for a decision itself, without Klein."""
