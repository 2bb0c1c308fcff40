"""Makes the configuration of a reverse proxy from the gateway's configuration and a template."""
