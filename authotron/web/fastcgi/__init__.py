"""
FastCGI in the role of an authorizer, by which Apache (C{mod_authnz_fcgi}) asks the gateway for
decisions.
"""
