"""
Policies decide whether a given identity may make a given request. The modules of this package are
pure functions without I/O.
"""
