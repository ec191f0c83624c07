"""A server in the second implementation: it takes one connection and answers queries on it until the dialer goes.

    python3 tests/python/serve.py [--cluster C] [--node N] [--features N]

Prints `{"event": "listening", "port": P}`, then one line of JSON at the end. A query is answered with two rows: its text
and its parameters, the query `fail` with an error, a heartbeat with an empty reply. Other types have no handler.
"""

import argparse
import json
import socket

import connection
import messages as m


def answer(frame):
    """The answer to a message, as (message type, fields, attachment)."""
    if frame.message_type == m.HEARTBEAT:
        return m.REPLY, None, b""
    if frame.message_type != m.QUERY_REQUEST:
        raise connection.RequestError({"not_started": True, "code": m.ERROR_NO_HANDLER, "detail": ""})
    try:
        query, parameters = m.decode(frame)
    except m.Malformed as malformed:
        reply = {"not_started": True, "code": m.ERROR_UNDECODABLE, "detail": str(malformed)}
        raise connection.RequestError(reply) from malformed
    if query["query"] == "fail":
        raise connection.RequestError({"not_started": False, "code": m.ERROR_HANDLER, "detail": "as it was told"})
    rows = [query["query"].encode(), parameters]
    fields = {
        "query_id": query["query_id"],
        "fragment": query["fragment"],
        "more": False,
        "lengths": [len(row) for row in rows],
    }
    return m.QUERY_RESPONSE, fields, b"".join(rows)


def main():
    parser = argparse.ArgumentParser(description="answers one connection over the wire")
    parser.add_argument("--cluster", default="rustydb")
    parser.add_argument("--node", default="python")
    parser.add_argument("--features", type=int, default=connection.FEATURES, help="0: a server of the first version")
    options = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(connection.TIMEOUT_S)
        port = listener.getsockname()[1]
        print(json.dumps({"event": "listening", "port": port}), flush=True)
        stream, _ = listener.accept()
    ours = connection.hello(options.cluster, options.node, features=options.features, address=f"127.0.0.1:{port}")
    try:
        acceptor = connection.Acceptor(stream, ours, answer)
    except connection.Refused as refused:
        print(json.dumps({"event": "refused", "code": refused.code}), flush=True)
        return
    code = acceptor.serve()
    summary = {"handled": acceptor.handled, "pongs": acceptor.pongs, "limits": acceptor.limits, "code": code}
    summary |= {"fragments": acceptor.fragments_read, "lanes": sorted(acceptor.lanes)}
    print(json.dumps({"event": "ended", "peer": acceptor.theirs["node"], **summary}), flush=True)


if __name__ == "__main__":
    main()
