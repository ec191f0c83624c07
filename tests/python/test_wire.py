"""The golden files, the examples of docs/wire-format.md, and what a reader has to refuse.

    python3 tests/python/test_wire.py [unittest's arguments]
"""

import pathlib
import unittest

import messages
import rdbn
from rdbn import CHECKSUM, FrameError, Malformed, decode_frame, encode_frame, frame_length

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "crates" / "rdb-net-wire" / "golden"
FRAME_BYTES_MAX = 4096


def golden_bytes(path):
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return bytes.fromhex(" ".join(lines))


def frames_of(data):
    """The frames of a stream, each as its bytes."""
    while data:
        length = frame_length(data, FRAME_BYTES_MAX)
        if length is None or length > len(data):
            raise AssertionError("the stream ends within a frame")
        yield data[:length]
        data = data[length:]


class Golden(unittest.TestCase):
    def test_every_file_is_read_and_written_back_byte_for_byte(self):
        paths = sorted(path for path in GOLDEN.glob("*.hex") if not path.name.startswith("refused_"))
        self.assertTrue(paths)
        for path in paths:
            with self.subTest(path.stem):
                checksums, has_struct = [], "# struct\n" in path.read_text()
                for data in frames_of(golden_bytes(path)):
                    frame = decode_frame(data, checksum_required=False)
                    values, attachment = messages.decode(frame)
                    self.assertEqual(values is not None, has_struct)
                    checksums.append(frame.has(CHECKSUM))
                    # From the values, not from the bytes that were read.
                    again = rdbn.Frame(frame.message_type, frame.flags, frame.lane, frame.correlation)
                    again.deadline_us = frame.deadline_us
                    others = [each for each in frame.extensions if each[0] != rdbn.EXTENSION_ATTACHMENT]
                    again.extensions = others
                    messages.fill(again, values, attachment)
                    self.assertEqual(encode_frame(again), data)
                self.assertEqual(checksums, [False, True])
        print(f"{len(paths)} golden files are read and written")

    def test_every_refused_file_is_refused(self):
        paths = sorted(GOLDEN.glob("refused_*.hex"))
        self.assertTrue(paths)
        for path in paths:
            for data in frames_of(golden_bytes(path)):
                with self.subTest(path.stem), self.assertRaises(FrameError):
                    decode_frame(data, checksum_required=False)
        print(f"{len(paths)} golden files are refused")

    def test_every_struct_has_a_golden_file(self):
        found = set()
        for path in GOLDEN.glob("*.hex"):
            found |= {int.from_bytes(data[6:8], "big") for data in frames_of(golden_bytes(path))}
        self.assertEqual(set(messages.STRUCTS) - found, set())

    def test_a_flipped_bit_is_found_by_the_checksum(self):
        whole = list(frames_of(golden_bytes(GOLDEN / "query_request.hex")))[1]
        for at in range(rdbn.HEADER_BYTES, len(whole)):
            for bit in range(8):
                broken = bytearray(whole)
                broken[at] ^= 1 << bit
                with self.assertRaises(FrameError):
                    decode_frame(bytes(broken), checksum_required=True)


class Document(unittest.TestCase):
    def test_the_checksum_has_the_value_of_the_document(self):
        self.assertEqual(rdbn.crc32c(b"123456789"), 0xE3069283)

    def test_the_example_is_what_is_written(self):
        frame = rdbn.Frame(messages.QUERY_REQUEST, CHECKSUM | rdbn.IDEMPOTENT, 1, 0x0000000100000002, 10_000)
        messages.fill(frame, {"query_id": 300, "fragment": 0, "query": "q"}, b"\x09")
        example = """
            52 44 42 4e  00 01  01 10  00 00 00 27
            00 c0  01  07
            00 00 00 01 00 00 00 02
            00 00 27 10  00 00 00 07
            04 02 00 00  00 00 00 01
            03  ac 02  00  01 71
            09
            61 d0 43 5a"""
        self.assertEqual(encode_frame(frame), bytes.fromhex(example))


class Refusals(unittest.TestCase):
    def frame(self, **changes):
        fields = {"message_type": messages.FIRST_APPLICATION, "body": b"body", **changes}
        return bytearray(encode_frame(rdbn.Frame(**fields)))

    def check(self, data, why, checksum_required=False):
        with self.assertRaisesRegex(FrameError, why):
            frame_length(data, FRAME_BYTES_MAX)
            decode_frame(bytes(data), checksum_required)

    def test_a_header_that_is_none(self):
        self.check(b"X", "magic")
        self.check(b"RDBM", "magic")
        self.assertIsNone(frame_length(b"RDB", FRAME_BYTES_MAX))
        for at, value, why in [(5, 2, "version"), (11, 19, "too small"), (8, 1, "too large")]:
            data = self.frame()
            data[at] = value
            self.check(data, why)

    def test_an_envelope_that_is_none(self):
        for at, value, why in [
            (12, 0x01, "reserved"),
            (13, 0x08, "reserved"),
            (13, 0x10, "reserved"),
            (14, 4, "lane"),
            (15, 4, "envelope"),
            (15, 7, "envelope"),
            (31, 5, "raw length"),
        ]:
            data = self.frame()
            data[at] = value
            self.check(data, why)
        self.check(self.frame(), "checksum missing", checksum_required=True)

    def test_extensions_that_are_none(self):
        for extension, why in [
            ((0x04, bytes(2)), "attachment extension"),
            ((0x04, bytes(2) + (5).to_bytes(4, "big")), "attachment longer"),
        ]:
            self.check(self.frame(extensions=[extension]), why)
        for words, why in [(0, "extension length"), (3, "extension length")]:
            data = self.frame(extensions=[(0x3F, bytes(6))])
            data[33] = words
            self.check(data, why)

    def test_fields_that_are_none(self):
        for kind, data in [
            (rdbn.BOOL, b"\2"),
            (rdbn.U16, b"\x80\x80\x04"),
            (rdbn.U16, b"\x80\x80\x80\x00"),
            (rdbn.U64, b"\xff" * 9 + b"\x02"),
            (rdbn.U128, b"\xff" * 18 + b"\x04"),
            (rdbn.STRING, b"\2\xc3\x28"),
            (rdbn.BYTES, b"\xff\xff\xff\xff\x0f"),
            (rdbn.List(rdbn.U64), b"\xff\xff\xff\xff\x0f"),
            (rdbn.Option(rdbn.U8), b"\2\0"),
            (rdbn.U64, b""),
            (messages.ID, b"\0"),
            (messages.ID, b"\3a b"),
            (messages.ADDRESS, b"\4host"),
            (messages.ADDRESS, b"\4::1:"),
            (messages.ADDRESS, b"\5::1:1"),
            (messages.ADDRESS, b"\7a:65536"),
            (messages.ADDRESS, b"\4-a:1"),
            (messages.ADDRESS, b"\5a..:1"),
        ]:
            with self.subTest(data), self.assertRaises(Malformed):
                kind.read(rdbn.Reader(data))
        for text in ["127.0.0.1:0", "[::1]:7000", "node-1.example.:65535"]:
            data = messages.ADDRESS.write(text)
            self.assertEqual(messages.ADDRESS.read(rdbn.Reader(data)), text)
        self.assertEqual(rdbn.U16.read(rdbn.Reader(b"\x81\x80\x00")), 1, "longer than needed, within its bytes")

    def test_a_struct_may_have_grown_and_may_not_have_shrunk(self):
        ping = messages.STRUCTS[messages.PING]
        for data in [b"\1\7", b"\2\7anything", b"\2\7", b"\1\7anything"]:
            self.assertEqual(ping.decode(data), {"token": 7})
        for data in [b"\0", b"\1", b"", b"\0\7"]:
            with self.subTest(data), self.assertRaises(Malformed):
                ping.decode(data)

    def test_lengths_that_do_not_fit(self):
        for message_type, values in [
            (messages.QUERY_RESPONSE, {"query_id": 1, "fragment": 0, "more": False, "lengths": [3, 2]}),
            (messages.QUERY_RESPONSE, {"query_id": 1, "fragment": 0, "more": False, "lengths": [3]}),
        ]:
            frame = messages.fill(rdbn.Frame(message_type), values, b"1234")
            with self.subTest(values), self.assertRaises(Malformed):
                messages.decode(frame)


if __name__ == "__main__":
    unittest.main()
