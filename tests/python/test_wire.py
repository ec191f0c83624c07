"""The golden files, the examples of docs/wire-format.md, and what a reader has to refuse.

    python3 tests/python/test_wire.py [unittest's arguments]
"""

import pathlib
import unittest

import decompress
import fragments
import messages
import rdbn
from rdbn import CHECKSUM, FrameError, Malformed, decode_frame, encode_frame, frame_length

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "crates" / "rdb-net-wire" / "golden"
FRAME_BYTES_MAX = 4096
# The files with the frames of one message each, and its body.
SERIES = {
    "fragments": bytes(index % 251 for index in range(9000)),
    "compressed_lz4": bytes([7]) * 3000,
    "compressed_snappy": bytes([7]) * 3000,
    "compressed_zstd": bytes(index // 100 for index in range(3000)),
    "compressed_fragments": bytes(index // 64 & 255 for index in range(20_000)),
}
# There is no Zstandard here: its frames are read, their bodies are not.
UNREAD = "compressed_zstd"
CODECS = {1: decompress.lz4, 2: decompress.snappy, 3: lambda data, raw_length: bytes(raw_length)}
RULES = rdbn.Rules(fragments=True, streams=True, codecs=CODECS, frame_bytes_max=4096)


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
        others = ("refused_", "compressed_", "fragments")
        paths = sorted(path for path in GOLDEN.glob("*.hex") if not path.name.startswith(others))
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
                    kept = [each for each in frame.extensions if each[0] != rdbn.EXTENSION_ATTACHMENT]
                    again.extensions = kept
                    messages.fill(again, values, attachment)
                    self.assertEqual(encode_frame(again), data)
                self.assertEqual(checksums, [False, True])
        print(f"{len(paths)} golden files are read and written")

    def test_files_of_older_writers_are_read_with_defaults_and_written_without_the_later_fields(self):
        paths = sorted((GOLDEN / "older").glob("*.hex"))
        self.assertTrue(paths)
        for path in paths:
            for data in frames_of(golden_bytes(path)):
                with self.subTest(path.stem):
                    frame = decode_frame(data, checksum_required=False)
                    values, _ = messages.decode(frame)
                    for name, _, default in messages.struct_of(frame).later:
                        self.assertEqual(values.pop(name), default)
                    again = rdbn.Frame(frame.message_type, frame.flags, frame.lane, frame.correlation)
                    self.assertEqual(encode_frame(messages.fill(again, values)), data)
        print(f"{len(paths)} older golden files are read")

    def test_the_frames_of_a_message_are_put_together(self):
        for name, body in SERIES.items():
            with self.subTest(name):
                frames = list(frames_of(golden_bytes(GOLDEN / f"{name}.hex")))
                parts = [decode_frame(data, True, RULES) for data in frames]
                for data in frames:
                    with self.assertRaisesRegex(FrameError, "not announced"):
                        decode_frame(data, True)
                if len(parts) == 1:
                    self.assertEqual(len(parts[0].body), len(body))
                    if name != UNREAD:
                        self.assertEqual(parts[0].body, body)
                    self.assertEqual(parts[0].saved_bytes, len(body) - (len(frames[0]) - 36))
                    continue
                reassembly = fragments.Reassembly()
                results = [reassembly.add(part) for part in parts]
                self.assertEqual([is_whole for is_whole, _ in results], [False] * (len(parts) - 1) + [True])
                self.assertEqual(results[-1][1].body, body)
        print(f"{len(SERIES)} messages of several frames or codecs are read")

    def test_what_is_cut_is_what_is_written(self):
        whole = rdbn.Frame(messages.FIRST_APPLICATION, CHECKSUM, 1, 0x0000000300000007, 0, SERIES["fragments"])
        written = b"".join(encode_frame(part) for part in fragments.cut(whole, FRAME_BYTES_MAX))
        self.assertEqual(written, golden_bytes(GOLDEN / "fragments.hex"))

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
        for path in GOLDEN.rglob("*.hex"):
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
            (12, 0x01, "stream that was not announced"),
            (13, 0x08, "fragment that was not announced"),
            (13, 0x10, "codec that was not announced"),
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
            ((0x04, bytes(2)), "another length"),
            ((0x03, bytes(6)), "another length"),
            ((0x07, bytes(10)), "another length"),
            ((0x03, bytes(10)), "fragment that was not announced"),
            ((0x04, bytes(2) + (5).to_bytes(4, "big")), "attachment longer"),
        ]:
            self.check(self.frame(extensions=[extension]), why)
        for words, why in [(0, "extension length"), (3, "extension length")]:
            data = self.frame(extensions=[(0x3F, bytes(6))])
            data[33] = words
            self.check(data, why)

    def test_fragments_that_are_none(self):
        part = lambda flags, body, *numbers: rdbn.Frame(
            messages.FIRST_APPLICATION, flags, 1, 1, 0, bytes(body), [rdbn.extension(0x03, *numbers)] if numbers else []
        )
        rules = rdbn.Rules(fragments=True, frame_bytes_max=4096, message_bytes_max=10_000)
        for frame, why in [
            (part(rdbn.MORE, 2048), "more of what"),
            (part(rdbn.MORE, 2047, 9000, 0), "fragment"),
            (part(rdbn.MORE, 2048, 2048, 0), "fragment"),
            (part(rdbn.MORE, 2048, 9000, 0xFFFFFFFF), "fragment"),
            (part(0, 2048, 9000, 2048), "fragment"),
            (part(0, 0, 9000, 9000), "fragment"),
            (part(0, 2048, 2048, 0), "fragment"),
            (part(rdbn.MORE, 2048, 10_001, 0), "too large"),
        ]:
            with self.subTest(why), self.assertRaisesRegex(FrameError, why):
                decode_frame(encode_frame(frame), False, rules)
        first, later = part(rdbn.MORE, 2048, 9000, 0), part(rdbn.MORE, 2048, 9000, 4096)
        reassembly = fragments.Reassembly()
        with self.assertRaises(fragments.OutOfPlace):
            reassembly.add(later)
        reassembly.add(first)
        for frame in [first, later, part(rdbn.MORE, 2048, 9001, 2048)]:
            with self.assertRaises(fragments.OutOfPlace):
                reassembly.add(frame)
        with self.assertRaises(fragments.OutOfPlace):
            reassembly.check_between(part(0, 1))
        reassembly.end(1)
        reassembly.check_between(part(0, 1))

    def test_compressed_bodies_that_are_none(self):
        rules = rdbn.Rules(codecs=CODECS, frame_bytes_max=4096)
        data = lambda number, body: rdbn.Frame(messages.FIRST_APPLICATION, number << 4, 1, 1, 0, bytes.fromhex(body))
        for frame, raw_length, why in [
            (data(1, "1005"), 5000, "beyond its limit"),
            (data(1, "10"), 1025, "beyond its limit"),
            (data(1, "1005"), 2, "compressed body"),
            (data(1, "100500"), 9, "compressed body"),
            (data(1, "10050200"), 9, "compressed body"),
            (data(1, "10050100"), 3, "compressed body"),
            (data(1, "f0"), 3, "compressed body"),
            (data(2, "0300050a"), 4, "compressed body"),
            (data(2, "03000509"), 3, "compressed body"),
        ]:
            with self.subTest(frame.body.hex()), self.assertRaisesRegex(FrameError, why):
                written = bytearray(encode_frame(frame))
                written[28:32] = raw_length.to_bytes(4, "big")
                decode_frame(bytes(written), False, rules)

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

    def test_a_later_field_has_a_default(self):
        pong = messages.STRUCTS[messages.PONG]
        for data, clock_us in [(b"\1\7", 0), (b"\2\7\5", 5), (b"\1\7\5", 0), (b"\3\7\5anything", 5)]:
            self.assertEqual(pong.decode(data), {"token": 7, "clock_us": clock_us})
        with self.assertRaises(Malformed):
            pong.decode(b"\2\7")

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
