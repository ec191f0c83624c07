"""Frames and structs of the wire, written from docs/wire-format.md and from nothing else.

The second implementation of the format: where it cannot be written from the document, the document is incomplete.
Python's standard library only. Names in comments such as "section 1" are the sections of that document.
"""

from dataclasses import dataclass, field

MAGIC = b"RDBN"
VERSION = 1
HEADER_BYTES = 12
HEAD_BYTES = 32
CHECKSUM_BYTES = 4
WORD_BYTES = 4
EXTENSION_BYTES_MAX = 1000
HELLO_FRAME_BYTES_MAX = 8192

RESPONSE = 0x0001
ERROR = 0x0002
ONE_WAY = 0x0004
MORE = 0x0008
CODEC = 0x0030
CHECKSUM = 0x0040
IDEMPOTENT = 0x0080
STREAM = 0x0100

EXTENSION_FRAGMENT = 0x03
EXTENSION_ATTACHMENT = 0x04
EXTENSION_STREAM_WINDOW = 0x07
# Of the extensions that are known here, how many words each has.
EXTENSION_WORDS = {EXTENSION_FRAGMENT: 3, EXTENSION_ATTACHMENT: 2, EXTENSION_STREAM_WINDOW: 2}

FRAGMENT_BYTES_MIN = 2048
COMPRESSION_RATIO_MAX = 1024

LANE_SYSTEM = 0
LANE_INTERACTIVE = 1
LANES = 4


class FrameError(Exception):
    """The stream is no sequence of frames: the connection ends."""


class Malformed(Exception):
    """A body cannot be read as its type."""


def _crc32c_table():
    """Section 1, "Checksum"."""
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            # 0x1EDC6F41 with its bits reversed.
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_CRC32C = _crc32c_table()


def crc32c(data):
    """CRC-32C (Castagnoli) of bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC32C[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


@dataclass(frozen=True)
class Rules:
    """What a reader announced, and its limits. `codecs` has for each number what reads it: bytes and raw length to bytes."""

    fragments: bool = False
    streams: bool = False
    codecs: dict = field(default_factory=dict)
    frame_bytes_max: int = 0xFFFFFFFF
    message_bytes_max: int = 0xFFFFFFFF


PLAIN = Rules()


@dataclass
class Frame:
    """One frame (section 1). Its extensions are kept as they came, those without a meaning included, each as (type, data)."""

    message_type: int
    flags: int = 0
    lane: int = LANE_SYSTEM
    correlation: int = 0
    deadline_us: int = 0
    body: bytes = b""
    extensions: list = field(default_factory=list)
    # Of a frame that was read: how many bytes compression has saved.
    saved_bytes: int = 0

    def has(self, flag):
        return self.flags & flag != 0

    def numbers(self, kind):
        """The numbers of an extension; None without it. Of several the last one counts."""
        found = [data[2:] for each, data in self.extensions if each == kind]
        return [int.from_bytes(found[-1][at : at + 4], "big") for at in range(0, len(found[-1]), 4)] if found else None

    @property
    def attachment_bytes(self):
        """How many bytes at the end of the message are the attachment."""
        return (self.numbers(EXTENSION_ATTACHMENT) or [0])[0]

    @property
    def fragment(self):
        """Which part of its message it is: the length of the whole, and what comes before; None for all of it."""
        return self.numbers(EXTENSION_FRAGMENT)

    @property
    def structure(self):
        return self.body[: len(self.body) - self.attachment_bytes]

    @property
    def attachment(self):
        return self.body[len(self.body) - self.attachment_bytes :]


def extension(kind, *numbers):
    """An extension of numbers of 4 bytes each."""
    return (kind, bytes(2) + b"".join(number.to_bytes(4, "big") for number in numbers))


def attachment_extension(length):
    """The extension that says how long the attachment is."""
    return extension(EXTENSION_ATTACHMENT, length)


def encode_frame(frame):
    """The bytes of a frame, with a checksum where it has the flag."""
    extensions = bytearray()
    for kind, data in frame.extensions:
        words = -(-(2 + len(data)) // WORD_BYTES)
        extensions += bytes([kind, words]) + data.ljust(words * WORD_BYTES - 2, b"\0")
    if len(extensions) > EXTENSION_BYTES_MAX:
        raise ValueError("the extensions are too long")
    words = (HEAD_BYTES - HEADER_BYTES + len(extensions)) // WORD_BYTES
    size = words * WORD_BYTES + len(frame.body) + (CHECKSUM_BYTES if frame.has(CHECKSUM) else 0)
    out = bytearray(MAGIC)
    for value, width in (
        (VERSION, 2),
        (frame.message_type, 2),
        (size, 4),
        (frame.flags, 2),
        (frame.lane, 1),
        (words, 1),
        (frame.correlation, 8),
        (frame.deadline_us, 4),
        (len(frame.body), 4),
    ):
        out += value.to_bytes(width, "big")
    out += extensions + frame.body
    if frame.has(CHECKSUM):
        out += crc32c(out).to_bytes(CHECKSUM_BYTES, "big")
    return bytes(out)


def frame_length(data, frame_bytes_max):
    """The length of the first frame of a stream; None while its header is incomplete (section 1, "Reading", 1, 2)."""
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise FrameError("magic")
    if len(data) < HEADER_BYTES:
        return None
    if int.from_bytes(data[4:6], "big") != VERSION:
        raise FrameError("version")
    size = int.from_bytes(data[8:12], "big")
    if size < HEAD_BYTES - HEADER_BYTES:
        raise FrameError("size too small")
    if HEADER_BYTES + size > frame_bytes_max:
        raise FrameError("frame too large")
    return HEADER_BYTES + size


def decode_frame(data, checksum_required, rules=PLAIN):
    """Reads a whole frame (section 1, "Reading", 3 and 4)."""
    number = lambda start, end: int.from_bytes(data[start:end], "big")
    flags = number(12, 14)
    if checksum_required and not flags & CHECKSUM:
        raise FrameError("checksum missing")
    end = len(data)
    if flags & CHECKSUM:
        end -= CHECKSUM_BYTES
        if number(end, len(data)) != crc32c(data[:end]):
            raise FrameError("checksum")
    lane, words = data[14], data[15]
    if lane >= LANES:
        raise FrameError("lane")
    body_start = HEADER_BYTES + words * WORD_BYTES
    if body_start < HEAD_BYTES or body_start > end:
        raise FrameError("envelope")
    extensions = _decode_extensions(data[HEAD_BYTES:body_start])
    frame = Frame(number(6, 8), flags, lane, number(16, 24), number(24, 28), bytes(data[body_start:end]), extensions)
    _check_agreed(frame, number(28, 32), rules)
    if flags & CODEC:
        compressed = frame.body
        frame.body = _decompressed(frame, number(28, 32), rules)
        frame.saved_bytes = max(0, len(frame.body) - len(compressed))
    return frame


def _check_agreed(frame, raw_length, rules):
    """Whether a frame that is compressed, or a part of something, is so as this side announced."""
    codec, fragment, more = (frame.flags & CODEC) >> 4, frame.fragment, frame.has(MORE)
    if frame.has(STREAM) and not rules.streams:
        raise FrameError("a stream that was not announced")
    if (more or fragment is not None) and not rules.fragments:
        raise FrameError("a fragment that was not announced")
    if codec and codec not in rules.codecs:
        raise FrameError("a codec that was not announced")
    if not codec and raw_length != len(frame.body):
        raise FrameError("raw length")
    if codec and raw_length > min(rules.frame_bytes_max, COMPRESSION_RATIO_MAX * len(frame.body)):
        raise FrameError("raw length beyond its limit")
    if fragment is None and more:
        raise FrameError("more of what is not told")
    total, offset = fragment or (raw_length, 0)
    if fragment is not None and total > rules.message_bytes_max:
        raise FrameError("message too large")
    end = offset + raw_length
    if more and (end >= total or raw_length < FRAGMENT_BYTES_MIN):
        raise FrameError("fragment")
    if fragment is not None and not more and (end != total or raw_length == 0 or offset == 0):
        raise FrameError("fragment")
    if frame.attachment_bytes > total:
        raise FrameError("attachment longer than the body")


def _decompressed(frame, raw_length, rules):
    try:
        body = rules.codecs[(frame.flags & CODEC) >> 4](frame.body, raw_length)
    except (IndexError, ValueError) as error:
        raise FrameError("compressed body") from error
    if len(body) != raw_length:
        raise FrameError("compressed body")
    return body


def _decode_extensions(data):
    extensions, at = [], 0
    while at < len(data):
        kind, words = data[at], data[at + 1]
        end = at + words * WORD_BYTES
        if words == 0 or end > len(data):
            raise FrameError("extension length")
        if words != EXTENSION_WORDS.get(kind, words):
            raise FrameError("extension of another length")
        extensions.append((kind, bytes(data[at + 2 : end])))
        at = end
    return extensions


# Of a string, of bytes, of a list (section 2, "Structs").
LENGTH_BITS = 64


class Reader:
    """Reads fields one after the other and refuses what is not there."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if count > len(self.data) - self.at:
            raise Malformed("cut short")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self):
        return self.take(1)[0]

    def varint(self, bits):
        value = 0
        for index in range(-(-bits // 7)):
            byte = self.byte()
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if value >> bits:
                    raise Malformed("varint beyond its type")
                return value
        raise Malformed("varint too long")


def varint(value):
    """An unsigned LEB128 in its shortest form."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Unsigned:
    """u16, u32, u64 or u128."""

    def __init__(self, bits):
        self.bits = bits

    def read(self, reader):
        return reader.varint(self.bits)

    def write(self, value):
        if value < 0 or value >> self.bits:
            raise ValueError(f"{value} is no u{self.bits}")
        return varint(value)


class Byte:
    def read(self, reader):
        return reader.byte()

    def write(self, value):
        return bytes([value])


class Bool:
    def read(self, reader):
        byte = reader.byte()
        if byte > 1:
            raise Malformed("bool")
        return byte == 1

    def write(self, value):
        return b"\1" if value else b"\0"


class Bytes:
    def read(self, reader):
        return bytes(reader.take(reader.varint(LENGTH_BITS)))

    def write(self, value):
        return varint(len(value)) + value


class String:
    """UTF-8; `legal` says which strings there are."""

    def __init__(self, legal=lambda text: True):
        self.legal = legal

    def read(self, reader):
        try:
            text = BYTES.read(reader).decode("utf-8")
        except UnicodeDecodeError as error:
            raise Malformed("string") from error
        if not self.legal(text):
            raise Malformed(f"{text!r} is not legal here")
        return text

    def write(self, value):
        return BYTES.write(value.encode("utf-8"))


class List:
    def __init__(self, item):
        self.item = item

    def read(self, reader):
        # An item takes at least one byte, so a length that lies ends with the bytes.
        return [self.item.read(reader) for _ in range(reader.varint(LENGTH_BITS))]

    def write(self, value):
        return varint(len(value)) + b"".join(self.item.write(item) for item in value)


class Option:
    def __init__(self, some):
        self.some = some

    def read(self, reader):
        present = BOOL.read(reader)
        return self.some.read(reader) if present else None

    def write(self, value):
        return b"\0" if value is None else b"\1" + self.some.write(value)


class Enum:
    """An enum whose variants have no fields."""

    def __init__(self, *names):
        self.names = names

    def read(self, reader):
        variant = reader.varint(32)
        if variant >= len(self.names):
            raise Malformed("enum")
        return self.names[variant]

    def write(self, value):
        return varint(self.names.index(value))


class Nested:
    """A struct inside a field: its fields in order, without a count."""

    def __init__(self, *fields):
        self.fields = fields

    def read(self, reader):
        return {name: kind.read(reader) for name, kind in self.fields}

    def write(self, value):
        return b"".join(kind.write(value[name]) for name, kind in self.fields)


class Struct:
    """A struct as a body: its field count, then its fields. `later` are those that the first version did not have, each with
    the default for a message without it."""

    def __init__(self, *fields, later=()):
        self.fields, self.later = fields, later

    def decode(self, data):
        reader = Reader(data)
        count = U32.read(reader) - len(self.fields)
        if count < 0:
            raise Malformed("a field of the first version is missing")
        values = {name: kind.read(reader) for name, kind in self.fields}
        for name, kind, default in self.later:
            values[name] = kind.read(reader) if count > 0 else default
            count -= 1
        # What stands behind the last field is a newer writer's.
        return values

    def encode(self, values):
        """Writes the fields; a peer of the first version is written to without the later ones."""
        names = [name for name, _ in self.fields] + [name for name, _, _ in self.later if name in values]
        if set(values) != set(names):
            raise ValueError(f"these are not the fields: {sorted(values)}")
        kinds = {name: kind for name, kind, *_ in (*self.fields, *self.later)}
        return varint(len(names)) + b"".join(kinds[name].write(values[name]) for name in names)


U8, U16, U32, U64, U128 = Byte(), Unsigned(16), Unsigned(32), Unsigned(64), Unsigned(128)
BOOL, BYTES, STRING = Bool(), Bytes(), String()
