"""The Debian package: built, looked at, and lived with under systemd in a container."""
