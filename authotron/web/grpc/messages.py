"""
The protocol buffer messages of Envoy's external authorization and of the gRPC health check.

Only the fields that the gateway reads or writes are declared; protobuf skips all others. Fields
that are strings in Envoy's definitions are declared as bytes, which have the same encoding: a proxy
may pass on header values that are not UTF-8, and parsing these as strings would fail.

The messages are declared in code, so no compiler for protocol buffers is needed to build the
package. Names and numbers of the fields:

  - C{envoy/service/auth/v3/external_auth.proto} and C{attribute_context.proto}
  - C{envoy/config/core/v3/address.proto} and C{base.proto}
  - C{grpc/health/v1/health.proto}
"""

from __future__ import annotations

from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

__all__ = [
    "CheckRequest",
    "CheckResponse",
    "DecodeError",
    "HealthCheckRequest",
    "HealthCheckResponse",
]

_PACKAGE = "authotron.grpc"
_KINDS = {
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "bool": FieldDescriptorProto.TYPE_BOOL,
}
_FIELDS: dict[str, dict[int, tuple[str, str]]] = {
    # Envoy asks
    "CheckRequest": {1: ("attributes", "Attributes")},
    "Attributes": {
        1: ("source", "Peer"),
        4: ("request", "Request"),
        10: ("context_extensions", "repeated Entry"),
        12: ("tls_session", "TlsSession"),
    },
    "Peer": {1: ("address", "Address"), 4: ("principal", "bytes"), 5: ("certificate", "bytes")},
    "Address": {1: ("socket_address", "SocketAddress")},
    "SocketAddress": {2: ("address", "bytes"), 3: ("port_value", "uint32")},
    "Request": {2: ("http", "HttpRequest")},
    "HttpRequest": {
        2: ("method", "bytes"),
        3: ("headers", "repeated Entry"),
        4: ("path", "bytes"),
        5: ("host", "bytes"),
        6: ("scheme", "bytes"),
        13: ("header_map", "HeaderMap"),
    },
    "HeaderMap": {1: ("headers", "repeated HeaderValue")},
    "HeaderValue": {1: ("key", "bytes"), 2: ("value", "bytes"), 3: ("raw_value", "bytes")},
    "TlsSession": {1: ("sni", "bytes")},
    "Entry": {1: ("key", "bytes"), 2: ("value", "bytes")},  # of a map
    # the gateway answers
    "CheckResponse": {
        1: ("status", "Status"),
        2: ("denied_response", "DeniedResponse"),
        3: ("ok_response", "OkResponse"),
    },
    "Status": {1: ("code", "int32")},
    "DeniedResponse": {
        1: ("status", "HttpStatus"),
        2: ("headers", "repeated HeaderValueOption"),
        3: ("body", "bytes"),
    },
    "HttpStatus": {1: ("code", "int32")},
    "OkResponse": {
        2: ("headers", "repeated HeaderValueOption"),
        5: ("headers_to_remove", "repeated bytes"),
        8: ("query_parameters_to_remove", "repeated bytes"),
    },
    "HeaderValueOption": {
        1: ("header", "HeaderValue"),
        3: ("append_action", "int32"),
        4: ("keep_empty_value", "bool"),
    },
    # health checks
    "HealthCheckRequest": {1: ("service", "bytes")},
    "HealthCheckResponse": {1: ("status", "int32")},
}
"""
The fields of each message by number: the name of the field, and its type, which may be another
message.
"""


def _message(name: str, fields: dict[int, tuple[str, str]]) -> DescriptorProto:
    described = DescriptorProto(name=name)
    for number, (field, type_) in fields.items():
        kind = type_.removeprefix("repeated ")
        label = FieldDescriptorProto.LABEL_OPTIONAL
        if kind != type_:
            label = FieldDescriptorProto.LABEL_REPEATED
        added = described.field.add(name=field, number=number, label=label)
        if kind in _KINDS:
            added.type = _KINDS[kind]
        else:
            added.type = FieldDescriptorProto.TYPE_MESSAGE
            added.type_name = f".{_PACKAGE}.{kind}"
    return described


def _classes() -> dict[str, Any]:
    """
    Return the classes of all messages by name.

    The messages are registered in a pool of their own, because other libraries in the process may
    register Envoy's complete messages.
    """
    described = FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto3")
    described.message_type.extend(_message(name, fields) for name, fields in _FIELDS.items())
    pool = DescriptorPool()
    pool.Add(described)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _FIELDS
    }


_CLASSES = _classes()
# The message classes are made at run time, so type checkers cannot know their fields.
CheckRequest: Any = _CLASSES["CheckRequest"]
CheckResponse: Any = _CLASSES["CheckResponse"]
HealthCheckRequest: Any = _CLASSES["HealthCheckRequest"]
HealthCheckResponse: Any = _CLASSES["HealthCheckResponse"]
