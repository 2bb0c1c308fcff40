"""
Verification of the TLS certificates of clients: which authority has signed a certificate, which
names it contains, and whether it is revoked.
"""
