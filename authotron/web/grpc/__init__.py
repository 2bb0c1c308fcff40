"""
The gRPC service for Envoy (external authorization, ext_authz), on endpoints of its own.

Modules of this package need the packages h2 and protobuf (the extra C{authotron[grpc]}), so they
are imported only if an endpoint with the prefix C{grpc:} is configured.
"""
