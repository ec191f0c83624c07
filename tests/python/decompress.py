"""Reading two of the codecs of docs/wire-format.md, section 1, "Compression": enough for the golden files.

A connection announces none of them, and so is sent none.
"""


def lz4(data, raw_length):
    """The LZ4 block format: literals, then a copy of what was written before, and so on; the last sequence has no copy."""
    out, at = bytearray(), 0

    def length(at, nibble):
        total = nibble
        while nibble == 15:
            total, at = total + data[at], at + 1
            if data[at - 1] != 255:
                break
        return total, at

    while at < len(data):
        token, at = data[at], at + 1
        literals, at = length(at, token >> 4)
        if at + literals > len(data):
            raise ValueError("literals beyond the end")
        out += data[at : at + literals]
        at += literals
        if at == len(data):
            return bytes(out)
        distance, at = data[at] | data[at + 1] << 8, at + 2
        copied, at = length(at, token & 15)
        _copy(out, distance, copied + 4, raw_length)
    raise ValueError("no last sequence")


def snappy(data, raw_length):
    """The raw Snappy format: the length as a varint, then literals and copies."""
    told, at, shift = 0, 0, 0
    while True:
        byte, at = data[at], at + 1
        told |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if told != raw_length:
        raise ValueError("another length than the frame's")
    out = bytearray()
    while at < len(data):
        tag, at = data[at], at + 1
        kind, count = tag & 3, (tag >> 2) + 1
        if kind == 0:
            if count > 60:
                more = count - 60
                count, at = int.from_bytes(data[at : at + more], "little") + 1, at + more
            out += data[at : at + count]
            at += count
            continue
        if kind == 1:
            count, distance, at = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | data[at], at + 1
        else:
            width = 2 if kind == 2 else 4
            distance, at = int.from_bytes(data[at : at + width], "little"), at + width
        _copy(out, distance, count, raw_length)
    return bytes(out)


def _copy(out, distance, count, raw_length):
    """Repeats what was written so many bytes before, which may reach into what is being written."""
    if not 0 < distance <= len(out) or len(out) + count > raw_length:
        raise ValueError("a copy of nothing, or beyond the end")
    start = len(out) - distance
    for index in range(count):
        out.append(out[start + index])
