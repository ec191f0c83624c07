"""A client in the second implementation: it joins a node, asks, and prints a line of JSON for each thing that happened.

    python3 tests/python/query.py HOST:PORT [--cluster C] [--target NODE] [--ping N] [--query TEXT] [--parameters HEX]
                                  [--parameters-bytes N] [--count N] [--window N] [--send TYPE:HEX] [--stream TYPE:HEX]
                                  [--stream-window N] [--features N] [--await-drain]
                                  [--tls CERT KEY CA [--binding HEX]]

Ends with exit code 0 when everything that was asked for was done, 3 when the hello was refused, 4 when TLS was.
"""

import argparse
import json
import socket
import ssl
import sys

import connection
import messages as m
import tls
from rdbn import IDEMPOTENT


# Rows that are longer together are told by their lengths.
ROWS_BYTES_TOLD = 65_536


def say(event, **values):
    print(json.dumps({"event": event, **values}), flush=True)


def arguments():
    parser = argparse.ArgumentParser(description="asks a node over the wire")
    parser.add_argument("address")
    parser.add_argument("--cluster", default="rustydb")
    parser.add_argument("--node", default="python")
    parser.add_argument("--target")
    parser.add_argument("--ping", type=int, default=0, help="how many pings")
    parser.add_argument("--query", help="the text of a QueryRequest")
    parser.add_argument("--parameters", type=bytes.fromhex, default=b"", help="its parameters, in hexadecimal")
    parser.add_argument("--parameters-bytes", type=int, help="so many bytes of a pattern as its parameters")
    parser.add_argument("--count", type=int, default=1, help="how many queries")
    parser.add_argument("--window", type=int, default=1, help="how many of them in flight")
    parser.add_argument("--send", action="append", default=[], help="an opaque request, TYPE:HEX, TYPE in hexadecimal")
    parser.add_argument("--lane", type=int, default=1, help="the lane of the queries")
    parser.add_argument("--stream", help="an opaque request for a stream of replies, TYPE:HEX")
    parser.add_argument("--stream-window", type=int, default=16_384, help="its window, in bytes")
    parser.add_argument("--features", type=int, default=connection.FEATURES, help="0: a client of the first version")
    parser.add_argument("--await-drain", action="store_true", help="stay until the node says that it drains")
    parser.add_argument("--tls", nargs=3, help="inside TLS: the files of its certificate, its key, and the CAs")
    parser.add_argument("--binding", type=bytes.fromhex, help="in the hello, instead of the channel binding")
    return parser.parse_args()


def connect(options, host, port):
    """A connection to the node, which is up. Inside TLS its hello carries the channel binding."""
    stream, binding, proved_node = socket.create_connection((host, port), connection.TIMEOUT_S), b"", None
    if options.tls:
        stream, binding, proved_node = tls.wrap(stream, *options.tls)
        say("secured", version=stream.version(), node=proved_node, offers=ssl.CHANNEL_BINDING_TYPES)
    if options.binding is not None:
        binding = options.binding
    others = {"channel_binding": binding}
    ours = connection.hello(options.cluster, options.node, options.target, options.features, **others)
    return connection.Dialer(stream, ours, proved_node)


def ask(dialer, options):
    """Sends the queries, a window of them at a time, and tells of each answer."""
    waiting = []
    for query_id in range(options.count):
        values = {"query_id": query_id, "fragment": query_id % 7, "query": options.query}
        asked = dialer.request(m.QUERY_REQUEST, values, options.parameters, options.lane, flags=IDEMPOTENT)
        waiting.append(asked)
        if len(waiting) >= options.window:
            tell_answer(dialer, waiting.pop(0), options.parameters)
    for correlation in waiting:
        tell_answer(dialer, correlation, options.parameters)


def tell_answer(dialer, correlation, parameters=b""):
    try:
        values, attachment = dialer.answer(correlation)
    except connection.RequestError as error:
        say("error", code=error.code, not_started=error.not_started, detail=error.detail)
        return
    if values is None:
        say("reply", body=attachment.hex())
        return
    rows = m.split(attachment, values.pop("lengths"))
    if len(attachment) > ROWS_BYTES_TOLD:
        say("answer", **values, lengths=[len(row) for row in rows], same=rows[-1] == parameters)
    else:
        say("answer", **values, rows=[row.hex() for row in rows])


def tell_stream(dialer, message, window):
    """Asks for a stream, and tells how long its items were and how it ended."""
    message_type, _, body = message.partition(":")
    correlation = dialer.request_stream(int(message_type, 16), None, bytes.fromhex(body), window=window)
    for _, item in dialer.items(correlation):
        say("item", bytes=len(item), first=item[:8].hex())
    tell_answer(dialer, correlation)


def await_drain(dialer):
    """Reads until the node has said its last word and everything is answered, then says farewell."""
    say("waiting")
    while dialer.last_word is None:
        dialer.step()
    say("drained", accepted=dialer.last_word, sent=dialer.sent)


def main():
    options = arguments()
    host, _, port = options.address.rpartition(":")
    if options.parameters_bytes is not None:
        options.parameters = bytes(index % 251 for index in range(options.parameters_bytes))
    try:
        dialer = connect(options, host, int(port))
    except connection.Refused as refused:
        say("refused", code=refused.code)
        return 3
    except ssl.SSLError as error:
        say("untrusted", reason=error.reason)
        return 4
    theirs = dialer.theirs
    say("up", node=theirs["node"], software=theirs["software"], features=theirs["features"])
    for _ in range(options.ping):
        say("pong", took_s=dialer.ping())
    if options.query is not None:
        ask(dialer, options)
    for message in options.send:
        message_type, _, body = message.partition(":")
        tell_answer(dialer, dialer.request(int(message_type, 16), None, bytes.fromhex(body)))
    if options.stream is not None:
        tell_stream(dialer, options.stream, options.stream_window)
    say("credits", messages=dialer.credit_messages, charged=dialer.charged, limits=dialer.limits)
    say("fragments", sent=dialer.fragments_sent, read=dialer.fragments_read)
    if options.await_drain:
        await_drain(dialer)
    dialer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
