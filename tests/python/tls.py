"""TLS under a connection: docs/wire-format.md, section 3, and RFC 9266, with the standard library's `ssl` alone.

That library has no exporter (`SSLSocket.get_channel_binding` knows `tls-unique`, which TLS 1.3 does not have). But it writes
the exporter's secret into a key log, and from there RFC 8446, section 7.5, takes a hash function.
"""

import hashlib
import hmac
import os
import re
import ssl
import tempfile

ALPN = "rustydb/1"
BINDING_LABEL = b"EXPORTER-Channel-Binding"
BINDING_BYTES = 32


def expand(secret, info, length, hash_name):
    """HKDF-Expand, RFC 5869, section 2.3."""
    block, output = b"", b""
    while len(output) < length:
        block = hmac.new(secret, block + info + bytes([len(output) // hashlib.new(hash_name).digest_size + 1]), hash_name).digest()
        output += block
    return output[:length]


def expand_label(secret, label, context, length, hash_name):
    """HKDF-Expand-Label, RFC 8446, section 7.1."""
    label = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(label)]) + label + bytes([len(context)]) + context
    return expand(secret, info, length, hash_name)


def exporter(secret, label, length, hash_name):
    """TLS-Exporter without a context, RFC 8446, section 7.5."""
    empty = hashlib.new(hash_name).digest()
    derived = expand_label(secret, label, empty, len(empty), hash_name)
    return expand_label(derived, b"exporter", empty, length, hash_name)


def wrap(stream, certificate, key, ca):
    """Puts TLS over a socket that has connected. Returns it, its channel binding, and the node of the other side's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The certificate names a node, not a host.
    context.check_hostname = False
    context.load_verify_locations(ca)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols([ALPN])
    with tempfile.TemporaryDirectory() as folder:
        # Its secrets are this connection's alone, and it goes with the folder.
        context.keylog_filename = os.path.join(folder, "keys")
        secured = context.wrap_socket(stream)
        with open(context.keylog_filename, encoding="ascii") as lines:
            found = re.findall(r"^EXPORTER_SECRET [0-9a-f]+ ([0-9a-f]+)$", lines.read(), re.MULTILINE)
    if secured.selected_alpn_protocol() != ALPN:
        raise ssl.SSLError("the other side does not speak " + ALPN)
    hash_name = "sha384" if secured.cipher()[0].endswith("SHA384") else "sha256"
    binding = exporter(bytes.fromhex(found[-1]), BINDING_LABEL, BINDING_BYTES, hash_name)
    uris = [name for kind, name in secured.getpeercert()["subjectAltName"] if kind == "URI"]
    return secured, binding, uris[0].rpartition("/node/")[2]
