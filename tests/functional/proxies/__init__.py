"""The real proxies, and what clients and services see of each of them."""
