"""Every message of docs/wire-format.md, section 6: one row each, its fields in order."""

import ipaddress
import re

from rdbn import (
    BOOL,
    BYTES,
    ERROR,
    STRING,
    U8,
    U16,
    U32,
    U64,
    U128,
    Enum,
    List,
    Malformed,
    Nested,
    Option,
    String,
    Struct,
    attachment_extension,
)

HELLO, REJECT, PING, PONG, CREDIT, CANCEL, GO_AWAY, CLOSE, STREAM_CREDIT, FENCE = range(0x0001, 0x000B)
MEMBERSHIP_SYNC, REPLY = 0x0010, 0x0011
HEARTBEAT, QUERY_REQUEST, QUERY_RESPONSE = 0x0100, 0x0110, 0x0111
REPLICATION_LOG, REPLICATION_ACK = 0x0120, 0x0121
PREPARE, VOTE, COMMIT, ABORT, TRANSACTION_ACK = range(0x0130, 0x0135)
FIRST_CLUSTER, FIRST_APPLICATION = 0x0100, 0x8000

# Features (section 3).
LANES, FRAGMENTS, STREAMS = 1, 2, 4
# Refusal codes (section 3).
REFUSED_MALFORMED, REFUSED_VERSION, REFUSED_CLUSTER, REFUSED_TARGET = 1, 2, 3, 4
REFUSED_IDENTITY, REFUSED_DUPLICATE, REFUSED_SELF = 5, 6, 9
# Close codes (section 5).
CLOSE_NORMAL, CLOSE_PROTOCOL, CLOSE_CREDIT, CLOSE_STATE = 1, 2, 3, 4
# Error codes (section 4).
ERROR_NO_HANDLER, ERROR_TOO_LARGE, ERROR_UNDECODABLE, ERROR_HANDLER = 4, 5, 6, 7

LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")


def is_address(text):
    """Whether a text is `host:port` (section 2, "Types with names")."""
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch("[0-9]+", port) or int(port) > 65535:
        return False
    if host.startswith("[") and host.endswith("]"):
        try:
            return ipaddress.IPv6Address(host[1:-1]).scope_id is None
        except ValueError:
            return False
    # An IPv4 address has the form of a name.
    name = host[:-1] if host.endswith(".") else host
    return len(name) <= 253 and all(LABEL.fullmatch(label) for label in name.split("."))


ID = String(re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch)
ADDRESS = String(is_address)
PROTOCOL_RANGE = Nested(("min", U16), ("max", U16))
TYPE_COST = Nested(("message_type", U16), ("bytes_per_byte", U16))

STRUCTS = {
    HELLO: Struct(
        ("cluster", ID),
        ("node", ID),
        ("target", Option(ID)),
        ("incarnation", U64),
        ("boot", U64),
        ("address", ADDRESS),
        ("protocol", PROTOCOL_RANGE),
        ("features", U64),
        ("codecs", BYTES),
        ("frame_bytes_max", U32),
        ("message_bytes_max", U32),
        ("requests_max", U32),
        ("credits", List(U64)),
        ("liveness_ms", U32),
        ("checksum", BOOL),
        ("channel_binding", BYTES),
        ("token", BYTES),
        ("software", STRING),
        later=(("costs", List(TYPE_COST), []),),
    ),
    REJECT: Struct(("code", U16), ("retry_after_ms", U32)),
    PING: Struct(("token", U64)),
    PONG: Struct(("token", U64), later=(("clock_us", U64, 0),)),
    CREDIT: Struct(("lane", U8), ("limit", U64)),
    GO_AWAY: Struct(("last", BOOL), ("accepted", List(U64))),
    CLOSE: Struct(("code", U16)),
    STREAM_CREDIT: Struct(("limit", U64)),
    FENCE: Struct(("sent_bytes", List(U64))),
    HEARTBEAT: Struct(("node_id", ID), ("timestamp_us", U64)),
    QUERY_REQUEST: Struct(("query_id", U64), ("fragment", U32), ("query", STRING)),
    QUERY_RESPONSE: Struct(("query_id", U64), ("fragment", U32), ("more", BOOL), ("lengths", List(U32))),
    REPLICATION_LOG: Struct(
        ("log_id", U64),
        ("epoch", U64),
        ("previous_index", U64),
        ("previous_epoch", U64),
        ("committed_index", U64),
        ("indexes", List(U64)),
        ("epochs", List(U64)),
        ("lengths", List(U32)),
    ),
    REPLICATION_ACK: Struct(("log_id", U64), ("epoch", U64), ("durable_index", U64), ("accepted", BOOL)),
    PREPARE: Struct(("txn_id", U128), ("coordinator", ID), ("participants", List(ID))),
    VOTE: Struct(("txn_id", U128), ("vote", Enum("commit", "abort", "read-only")), ("reason", STRING)),
    COMMIT: Struct(("txn_id", U128)),
    ABORT: Struct(("txn_id", U128), ("reason", STRING)),
    TRANSACTION_ACK: Struct(("txn_id", U128)),
}

ERROR_REPLY = Struct(("not_started", BOOL), ("code", U16), ("detail", STRING))


def struct_of(frame):
    """The struct of a frame's body; None where the body is opaque."""
    if frame.message_type == REPLY and frame.has(ERROR):
        return ERROR_REPLY
    return STRUCTS.get(frame.message_type)


def decode(frame):
    """The fields of a frame that has a struct, and its attachment; or None and the opaque body."""
    struct = struct_of(frame)
    if struct is None:
        return None, frame.body
    values = struct.decode(frame.structure)
    if "lengths" in values and sum(values["lengths"]) != len(frame.attachment):
        raise Malformed("the lengths do not add up to the attachment")
    if "indexes" in values and not len(values["indexes"]) == len(values["epochs"]) == len(values["lengths"]):
        raise Malformed("the lists have different lengths")
    return values, frame.attachment


def fill(frame, values, attachment=b""):
    """Writes a message into a frame, as struct and attachment; or `attachment` alone as an opaque body."""
    struct = struct_of(frame)
    if struct is None or values is None:
        frame.body = attachment
        return frame
    frame.body = struct.encode(values) + attachment
    if attachment:
        frame.extensions = frame.extensions + [attachment_extension(len(attachment))]
    return frame


def split(attachment, lengths):
    """The attachment as the parts that `lengths` names."""
    parts, at = [], 0
    for length in lengths:
        parts.append(attachment[at : at + length])
        at += length
    return parts
