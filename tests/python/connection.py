"""One connection, from the first byte to the farewell: docs/wire-format.md, sections 3 to 5.

Blocking, one thread, one socket: what a second implementation needs at least. A frame of the other side is answered where
the document says that it is, whoever waits for something else at that moment.
"""

import secrets
import socket
import time

import fragments
import messages as m
import rdbn
from rdbn import CHECKSUM, ERROR, LANE_INTERACTIVE, LANE_SYSTEM, ONE_WAY, RESPONSE, STREAM, Frame

TIMEOUT_S = 10
FRAME_BYTES_MAX = 262_144
FRAME_BYTES_LEAST = 4096
MESSAGE_BYTES_MAX = 4 << 20
FEATURES = m.LANES | m.FRAGMENTS | m.STREAMS
# What a row of a response or an entry of a log is in this program, against a byte of its struct.
COSTS = [{"message_type": kind, "bytes_per_byte": 64} for kind in (m.QUERY_RESPONSE, m.REPLICATION_LOG, m.PREPARE)]
CREDIT_BYTES = 65_536
CHARGE_EXTRA_BYTES = 64
REQUESTS_MAX = 64


class Refused(Exception):
    """The hello was refused, by the other side or by this one."""

    def __init__(self, code):
        super().__init__(f"refused with code {code}")
        self.code = code


class Closed(Exception):
    """The connection has ended; the code is None where the other side said none."""

    def __init__(self, code):
        super().__init__(f"closed with code {code}")
        self.code = code


class RequestError(Exception):
    """A request was answered with an error."""

    def __init__(self, reply):
        super().__init__(reply["detail"])
        self.code, self.not_started, self.detail = reply["code"], reply["not_started"], reply["detail"]


def hello(cluster, node, target=None, features=FEATURES, **others):
    """The hello of a process that was started at this moment. Without features it is one of the first version."""
    later = {"message_bytes_max": MESSAGE_BYTES_MAX, "costs": COSTS} if features else {}
    fields = {
        "cluster": cluster,
        "node": node,
        "target": target,
        "incarnation": int(time.time()) << 32,
        "boot": secrets.randbits(64),
        "address": "127.0.0.1:9",
        "protocol": {"min": 1, "max": 1},
        "features": features,
        "codecs": b"",
        "frame_bytes_max": FRAME_BYTES_MAX,
        "message_bytes_max": FRAME_BYTES_MAX,
        "requests_max": REQUESTS_MAX,
        "credits": [CREDIT_BYTES] * rdbn.LANES,
        "liveness_ms": 5000,
        "checksum": True,
        "channel_binding": b"",
        "token": b"",
        "software": "second implementation",
    }
    return {**fields, **later, **others}


def accounted_lane(lane, accountant):
    """Who does not account four lanes accounts lanes 1, 2 and 3 together."""
    return lane if accountant["features"] & m.LANES else min(lane, LANE_INTERACTIVE)


def frame_charge(frame, length):
    """What a frame costs by its bytes."""
    return length + frame.saved_bytes + CHARGE_EXTRA_BYTES


def struct_charge(frame, reader, dialer):
    """What the struct of a whole message costs beyond its bytes. Dialers of the first version know nothing of it."""
    costs = [cost["bytes_per_byte"] for cost in reader.get("costs", []) if cost["message_type"] == frame.message_type]
    if not costs or not dialer["features"] & m.LANES:
        return 0
    return (max(1, costs[0]) - 1) * len(frame.structure)


def is_charged(frame):
    known = frame.message_type == m.MEMBERSHIP_SYNC or frame.message_type >= m.FIRST_CLUSTER
    return known and not frame.has(RESPONSE)


def code_of(frame, otherwise):
    """Why the other side ends the connection: it does, even where its reason cannot be read."""
    try:
        return m.decode(frame)[0]["code"]
    except rdbn.Malformed:
        return otherwise


class Connection:
    """What both sides share: frames, liveness, farewell."""

    def __init__(self, stream, ours, proved_node=None):
        """Over a socket; inside TLS, whose certificate has named the other side's node and whose binding our hello carries."""
        stream.settimeout(TIMEOUT_S)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream, self.ours, self.theirs, self.proved_node = stream, ours, None, proved_node
        self.buffer = bytearray()
        self.checksum_required = False
        self.read_bytes_max = rdbn.HELLO_FRAME_BYTES_MAX
        self.frame_bytes_max = rdbn.HELLO_FRAME_BYTES_MAX
        self.rules, self.reassembly = rdbn.PLAIN, fragments.Reassembly()
        self.pongs, self.fragments_read = 0, 0

    def write(self, frame):
        """Writes a frame and returns its length."""
        if self.theirs is None or self.checksum_required:
            frame.flags |= CHECKSUM
        data = rdbn.encode_frame(frame)
        if len(data) > self.frame_bytes_max:
            raise ValueError("the other side does not read frames of this length")
        self.stream.sendall(data)
        return len(data)

    def tell(self, message_type, values, correlation=0):
        """Sends a control message."""
        self.write(m.fill(Frame(message_type, ONE_WAY, LANE_SYSTEM, correlation), values))

    def read(self):
        """The next frame and its length. A farewell or the end of the stream raises Closed, a refusal Refused."""
        try:
            frame, length = self._read_frame()
        except rdbn.FrameError:
            self.close(m.CLOSE_PROTOCOL)
            raise
        if frame.message_type == m.REJECT:
            self.stream.close()
            raise Refused(code_of(frame, m.REFUSED_MALFORMED))
        if frame.message_type == m.CLOSE:
            self.stream.close()
            raise Closed(code_of(frame, m.CLOSE_NORMAL))
        return frame, length

    def _read_frame(self):
        while True:
            length = rdbn.frame_length(self.buffer, self.read_bytes_max)
            if length is not None and len(self.buffer) >= length:
                data = bytes(self.buffer[:length])
                del self.buffer[:length]
                return rdbn.decode_frame(data, self.checksum_required, self.rules), length
            chunk = self.stream.recv(65_536)
            if not chunk:
                self.stream.close()
                raise Closed(None)
            self.buffer += chunk

    def handshake(self):
        """Reads the other side's hello and checks it."""
        frame, _ = self.read()
        if frame.message_type != m.HELLO:
            self.fail(m.CLOSE_STATE)
        code, theirs = self._check(frame)
        if code is not None:
            self.tell(m.REJECT, {"code": code, "retry_after_ms": 0})
            self.stream.close()
            raise Refused(code)
        return theirs

    def _check(self, frame):
        try:
            theirs, _ = m.decode(frame)
        except rdbn.Malformed:
            return m.REFUSED_MALFORMED, None
        ours, range_ = self.ours, theirs["protocol"]
        if max(range_["min"], ours["protocol"]["min"]) > min(range_["max"], ours["protocol"]["max"]):
            return m.REFUSED_VERSION, theirs
        is_bound = theirs["channel_binding"] == ours["channel_binding"]
        if not is_bound or self.proved_node not in (None, theirs["node"]):
            return m.REFUSED_IDENTITY, theirs
        if theirs["cluster"] != ours["cluster"]:
            return m.REFUSED_CLUSTER, theirs
        if theirs["node"] == ours["node"]:
            return m.REFUSED_SELF if theirs["boot"] == ours["boot"] else m.REFUSED_DUPLICATE, theirs
        if not self.is_meant(theirs):
            return m.REFUSED_TARGET, theirs
        if theirs["frame_bytes_max"] < FRAME_BYTES_LEAST or theirs["requests_max"] < 1:
            return m.REFUSED_MALFORMED, theirs
        return None, theirs

    def agree(self, theirs):
        """The connection is up: what both hellos say holds from here on."""
        self.theirs = theirs
        self.checksum_required = self.ours["checksum"] or theirs["checksum"]
        self.read_bytes_max = self.ours["frame_bytes_max"]
        self.frame_bytes_max = min(self.ours["frame_bytes_max"], theirs["frame_bytes_max"])
        features = self.ours["features"]
        self.rules = rdbn.Rules(
            fragments=features & m.FRAGMENTS != 0,
            streams=features & m.STREAMS != 0,
            frame_bytes_max=self.ours["frame_bytes_max"],
            message_bytes_max=self.ours["message_bytes_max"],
        )

    def parts(self, frame):
        """The frames of a message; None where the other side takes no message of this length."""
        if fragments.fits(frame, self.frame_bytes_max):
            return [frame]
        takes = self.theirs["features"] & m.FRAGMENTS and len(frame.body) <= self.theirs["message_bytes_max"]
        return fragments.cut(frame, self.frame_bytes_max) if takes else None

    def close(self, code=m.CLOSE_NORMAL):
        """Says farewell and ends the stream."""
        try:
            self.tell(m.CLOSE, {"code": code})
            self.stream.close()
        except OSError:
            # The other side was faster.
            self.stream.close()

    def step(self):
        """Reads one frame and does what it asks for."""
        frame, length = self.read()
        try:
            if frame.has(RESPONSE):
                self.take_answer(frame)
            elif is_charged(frame):
                self.on_message(frame, length)
            elif frame.message_type == m.HELLO:
                self.fail(m.CLOSE_STATE)
            elif frame.message_type == m.PING:
                self.answer_ping(m.decode(frame)[0]["token"])
            else:
                self.on_control(frame)
        except (rdbn.Malformed, fragments.OutOfPlace):
            self.fail(m.CLOSE_STATE)

    def answer_ping(self, token):
        clock = {"clock_us": time.time_ns() // 1000} if self.ours["features"] else {}
        self.tell(m.PONG, {"token": token, **clock})
        self.pongs += 1

    def take_answer(self, frame):
        """Puts the fragments of an answer together; a whole one ends a half-sent one of the same request."""
        if frame.fragment is None:
            self.reassembly.end(frame.correlation)
            self.reassembly.check_between(frame)
            return self.on_answer(frame)
        self.fragments_read += 1
        is_whole, answer = self.reassembly.add(frame, self.waits_for(frame.correlation))
        if is_whole and answer is not None:
            self.on_answer(answer)

    def fail(self, code):
        """Ends a connection whose other side did what it may not."""
        self.close(code)
        raise Closed(code)


class Dialer(Connection):
    """The side that asks."""

    def __init__(self, stream, ours, proved_node=None):
        super().__init__(stream, ours, proved_node)
        self.charged, self.limits, self.sent = [0] * rdbn.LANES, [0] * rdbn.LANES, [0] * rdbn.LANES
        self.next_correlation, self.in_flight, self.answers, self.streams = 1, set(), {}, {}
        self.credit_messages, self.warned, self.last_word = 0, False, None
        self.pings, self.pong, self.fragments_sent = 0, 0, 0
        self.tell(m.HELLO, ours)
        self.agree(self.handshake())
        self.limits = (self.theirs["credits"] + [0] * rdbn.LANES)[: rdbn.LANES]

    def is_meant(self, theirs):
        return self.ours["target"] in (None, theirs["node"])

    def ping(self):
        """Asks for a sign of life; the seconds that it took."""
        self.pings += 1
        begun = time.monotonic()
        self.tell(m.PING, {"token": self.pings})
        while self.pong < self.pings:
            self.step()
        return time.monotonic() - begun

    def request(self, message_type, values, attachment=b"", lane=LANE_INTERACTIVE, deadline_us=5_000_000, flags=0):
        """Sends a request as soon as credits and slots are there; its correlation id."""
        while len(self.in_flight) >= self.theirs["requests_max"]:
            self.step()
        correlation, self.next_correlation = self.next_correlation, self.next_correlation + 1
        frame = Frame(message_type, flags, lane, correlation, deadline_us)
        if flags & STREAM:
            window = self.streams[correlation].window
            frame.extensions = [rdbn.extension(rdbn.EXTENSION_STREAM_WINDOW, window)]
        m.fill(frame, values, attachment)
        # The attachment's extension is written before the window's.
        frame.extensions.sort(key=lambda each: each[0])
        self.in_flight.add(correlation)
        self._send(frame)
        return correlation

    def request_stream(self, message_type, values, attachment=b"", window=16_384, **options):
        """Sends a request for a stream of replies; its items are what `items` gives."""
        if not self.theirs["features"] & m.STREAMS:
            raise ValueError("the other side gives no streams")
        self.streams[self.next_correlation] = StreamIn(window)
        return self.request(message_type, values, attachment, flags=STREAM, **options)

    def items(self, correlation):
        """The items of a stream, each as its fields and attachment; the end is what `answer` gives. Credits are given as items
        are taken."""
        stream = self.streams[correlation]
        while True:
            while not stream.items and correlation not in self.answers:
                self.step()
            if not stream.items:
                del self.streams[correlation]
                return
            frame = stream.items.pop(0)
            limit = stream.take(frame)
            if limit is not None and correlation in self.in_flight:
                self.tell(m.STREAM_CREDIT, {"limit": limit}, correlation)
            yield m.decode(frame)

    def one_way(self, message_type, values, attachment=b"", lane=LANE_INTERACTIVE):
        """Sends a message that nobody answers."""
        self._send(m.fill(Frame(message_type, ONE_WAY, lane), values, attachment))

    def cancel(self, correlation):
        """Gives a request up."""
        self.tell(m.CANCEL, None, correlation)
        self.in_flight.discard(correlation)
        self.streams.pop(correlation, None)
        self.reassembly.discard(correlation)

    def waits_for(self, correlation):
        return correlation in self.in_flight

    def _send(self, frame):
        # One of the first version has two lanes whoever the other side is.
        lane = frame.lane = accounted_lane(accounted_lane(frame.lane, self.theirs), self.ours)
        parts, begun, deadline_us = self.parts(frame), time.monotonic(), frame.deadline_us
        if parts is None:
            self.in_flight.discard(frame.correlation)
            raise ValueError("the other side takes no messages of this length")
        for part in parts:
            while self.charged[lane] >= self.limits[lane]:
                self.step()
            if part is parts[0] and self.warned:
                raise Closed(None)
            if part is not parts[0] and frame.correlation in self.answers:
                # It was turned away: what was begun is given up, and does not count.
                self.tell(m.CANCEL, None, frame.correlation)
                return
            if deadline_us:
                part.deadline_us = max(1, deadline_us - int((time.monotonic() - begun) * 1e6))
            whole = struct_charge(part, self.theirs, self.ours) if len(parts) == 1 else 0
            self.charged[lane] += frame_charge(part, self.write(part)) + whole
        self.sent[lane] += 1
        self.fragments_sent += len(parts) if len(parts) > 1 else 0

    def answer(self, correlation):
        """Waits for the answer: its fields and attachment, or None and its opaque bytes."""
        while correlation not in self.answers:
            self.step()
        frame = self.answers.pop(correlation)
        values, attachment = m.decode(frame)
        if frame.has(ERROR):
            raise RequestError(values)
        return values, attachment

    def on_answer(self, frame):
        stream = self.streams.get(frame.correlation)
        if frame.has(STREAM):
            if stream is not None and self.waits_for(frame.correlation) and not stream.push(frame):
                self.fail(m.CLOSE_CREDIT)
            return
        # One whose request was given up is late.
        if frame.correlation in self.in_flight:
            self.in_flight.remove(frame.correlation)
            self.answers[frame.correlation] = frame

    def on_message(self, frame, length):
        self.fail(m.CLOSE_STATE)

    def on_control(self, frame):
        if frame.message_type not in (m.PONG, m.CREDIT, m.GO_AWAY):
            return
        values, _ = m.decode(frame)
        if frame.message_type == m.PONG:
            self.pong = values["token"]
        elif frame.message_type == m.CREDIT:
            self.credit_messages += 1
            if values["lane"] < rdbn.LANES:
                self.limits[values["lane"]] = max(self.limits[values["lane"]], values["limit"])
        else:
            self.warned = True
            if values["last"]:
                self.last_word = (values["accepted"] + [0] * rdbn.LANES)[: rdbn.LANES]


class StreamIn:
    """A stream of replies, as its caller has it (section 4)."""

    def __init__(self, window):
        self.window, self.limit = window, window
        self.received, self.taken, self.items = 0, 0, []

    def push(self, frame):
        """Takes an item in; False where the other side had no credits for it."""
        had_credits = self.received < self.limit
        self.received += len(frame.body) + CHARGE_EXTRA_BYTES
        self.items.append(frame)
        return had_credits

    def take(self, frame):
        """The new limit, where it is worth telling."""
        self.taken += len(frame.body) + CHARGE_EXTRA_BYTES
        limit = self.taken + self.window
        if limit - self.limit < self.window // 2:
            return None
        self.limit = limit
        return limit


class Acceptor(Connection):
    """The side that answers: `handle(frame)` returns (message type, fields, attachment) or raises RequestError."""

    def __init__(self, stream, ours, handle):
        super().__init__(stream, ours)
        self.handle = handle
        self.received, self.ended, self.handled = [0] * rdbn.LANES, [0] * rdbn.LANES, 0
        self.limits, self.lanes = list(ours["credits"]), set()
        theirs = self.handshake()
        self.tell(m.HELLO, ours)
        self.agree(theirs)

    def is_meant(self, theirs):
        return theirs["target"] in (None, self.ours["node"])

    def serve(self):
        """Answers until the dialer ends the connection; the code of its farewell."""
        try:
            while True:
                self.step()
        except Closed as closed:
            return closed.code

    def on_answer(self, frame):
        # Nothing was asked, so every answer is late.
        pass

    def on_message(self, frame, length):
        if frame.has(ONE_WAY) != (frame.correlation == 0):
            self.fail(m.CLOSE_STATE)
        lane, charge = accounted_lane(frame.lane, self.ours), frame_charge(frame, length)
        self.lanes.add(frame.lane)
        if frame.fragment is not None:
            self.fragments_read += 1
            self._charge(lane, charge)
            is_whole, message = self.reassembly.add(frame)
            # What is put together is bounded by message_bytes_max for each lane, and needs no credits.
            self._grant(lane, charge)
            if is_whole:
                self._dispatch(message, lane)
            return
        self.reassembly.check_between(frame)
        charge += struct_charge(frame, self.ours, self.theirs)
        self._charge(lane, charge)
        self._dispatch(frame, lane)
        self._grant(lane, charge)

    def on_control(self, frame):
        # Answers leave before the next frame is read, so a Cancel of a request that is whole is always too late.
        if frame.message_type == m.CANCEL:
            self.reassembly.end(frame.correlation)

    def waits_for(self, correlation):
        return False

    def _charge(self, lane, bytes_):
        if self.received[lane] >= self.limits[lane] + self.ours["frame_bytes_max"] + CHARGE_EXTRA_BYTES:
            self.fail(m.CLOSE_CREDIT)
        self.received[lane] += bytes_

    def _dispatch(self, frame, lane):
        self.handled += 1
        try:
            message_type, values, attachment = self.handle(frame)
            answer = m.fill(Frame(message_type, RESPONSE, lane, frame.correlation), values, attachment)
        except RequestError as error:
            reply = {"not_started": error.not_started, "code": error.code, "detail": error.detail}
            answer = m.fill(Frame(m.REPLY, RESPONSE | ERROR, lane, frame.correlation), reply)
        if frame.has(ONE_WAY):
            return
        parts = self.parts(answer)
        if parts is None:
            reply = {"not_started": False, "code": m.ERROR_TOO_LARGE, "detail": ""}
            parts = [m.fill(Frame(m.REPLY, RESPONSE | ERROR, lane, frame.correlation), reply)]
        for part in parts:
            self.write(part)

    def _grant(self, lane, bytes_):
        self.ended[lane] += bytes_
        limit = self.ended[lane] + self.ours["credits"][lane]
        if limit - self.limits[lane] >= self.ours["credits"][lane] / 2:
            self.limits[lane] = limit
            self.tell(m.CREDIT, {"lane": lane, "limit": limit})
