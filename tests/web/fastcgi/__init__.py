"""FastCGI, as the gateway speaks it to trusted proxies."""
