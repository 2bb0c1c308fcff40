"""
The TLS certificates of clients: which authority has signed them, what they name, and which are
revoked.
"""
