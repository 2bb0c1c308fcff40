"""The contracts of reverse proxies, one module each: how a proxy asks, and how it is answered."""
