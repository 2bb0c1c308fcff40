"""The configuration of a reverse proxy, made from that of the gateway and a template."""
