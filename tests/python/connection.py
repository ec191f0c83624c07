"""One connection, from the first byte to the farewell: docs/wire-format.md, sections 3 to 5.

Blocking, one thread, one socket: what a second implementation needs at least. A frame of the other side is answered where
the document says that it is, whoever waits for something else at that moment.
"""

import secrets
import socket
import time

import messages as m
import rdbn
from rdbn import CHECKSUM, ERROR, LANE_INTERACTIVE, LANE_SYSTEM, ONE_WAY, RESPONSE, Frame

TIMEOUT_S = 10
FRAME_BYTES_MAX = 262_144
FRAME_BYTES_LEAST = 4096
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


def hello(cluster, node, target=None, **others):
    """The hello of a process that was started at this moment."""
    fields = {
        "cluster": cluster,
        "node": node,
        "target": target,
        "incarnation": int(time.time()) << 32,
        "boot": secrets.randbits(64),
        "address": "127.0.0.1:9",
        "protocol": {"min": 1, "max": 1},
        "features": 0,
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
    return {**fields, **others}


def accounted_lane(lane):
    """Version 1 accounts lanes 1, 2 and 3 together."""
    return min(lane, LANE_INTERACTIVE)


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

    def __init__(self, stream, ours):
        stream.settimeout(TIMEOUT_S)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream, self.ours, self.theirs = stream, ours, None
        self.buffer = bytearray()
        self.checksum_required = False
        self.read_bytes_max = rdbn.HELLO_FRAME_BYTES_MAX
        self.frame_bytes_max = rdbn.HELLO_FRAME_BYTES_MAX
        self.pongs = 0

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
                return rdbn.decode_frame(data, self.checksum_required), length
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
                self.on_answer(frame)
            elif is_charged(frame):
                self.on_message(frame, length)
            elif frame.message_type == m.HELLO:
                self.fail(m.CLOSE_STATE)
            elif frame.message_type == m.PING:
                self.tell(m.PONG, m.decode(frame)[0])
                self.pongs += 1
            else:
                self.on_control(frame)
        except rdbn.Malformed:
            self.fail(m.CLOSE_STATE)

    def fail(self, code):
        """Ends a connection whose other side did what it may not."""
        self.close(code)
        raise Closed(code)


class Dialer(Connection):
    """The side that asks."""

    def __init__(self, address, ours):
        super().__init__(socket.create_connection(address, TIMEOUT_S), ours)
        self.charged, self.limits, self.sent = [0] * rdbn.LANES, [0] * rdbn.LANES, [0] * rdbn.LANES
        self.next_correlation, self.in_flight, self.answers = 1, set(), {}
        self.credit_messages, self.warned, self.last_word = 0, False, None
        self.pings, self.pong = 0, 0
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
        self._send(m.fill(frame, values, attachment))
        self.in_flight.add(correlation)
        return correlation

    def one_way(self, message_type, values, attachment=b"", lane=LANE_INTERACTIVE):
        """Sends a message that nobody answers."""
        self._send(m.fill(Frame(message_type, ONE_WAY, lane), values, attachment))

    def cancel(self, correlation):
        """Gives a request up."""
        self.tell(m.CANCEL, None, correlation)
        self.in_flight.discard(correlation)

    def _send(self, frame):
        lane = frame.lane = accounted_lane(frame.lane)
        while self.charged[lane] >= self.limits[lane]:
            self.step()
        if self.warned:
            raise Closed(None)
        self.charged[lane] += self.write(frame) + CHARGE_EXTRA_BYTES
        self.sent[lane] += 1

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


class Acceptor(Connection):
    """The side that answers: `handle(frame)` returns (message type, fields, attachment) or raises RequestError."""

    def __init__(self, stream, ours, handle):
        super().__init__(stream, ours)
        self.handle = handle
        self.received, self.ended, self.handled = [0] * rdbn.LANES, [0] * rdbn.LANES, 0
        self.limits = list(ours["credits"])
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
        lane = accounted_lane(frame.lane)
        self._charge(lane, length + CHARGE_EXTRA_BYTES)
        self._dispatch(frame, lane)
        self._grant(lane, length + CHARGE_EXTRA_BYTES)

    def on_control(self, frame):
        # Answers leave before the next frame is read, so a Cancel is always too late.
        pass

    def _charge(self, lane, bytes_):
        self.received[lane] += bytes_
        if self.received[lane] > self.limits[lane] + self.ours["frame_bytes_max"] + CHARGE_EXTRA_BYTES:
            self.fail(m.CLOSE_CREDIT)

    def _dispatch(self, frame, lane):
        self.handled += 1
        try:
            message_type, values, attachment = self.handle(frame)
            answer = m.fill(Frame(message_type, RESPONSE, lane, frame.correlation), values, attachment)
        except RequestError as error:
            reply = {"not_started": error.not_started, "code": error.code, "detail": error.detail}
            answer = m.fill(Frame(m.REPLY, RESPONSE | ERROR, lane, frame.correlation), reply)
        if not frame.has(ONE_WAY):
            self.write(answer)

    def _grant(self, lane, bytes_):
        self.ended[lane] += bytes_
        limit = self.ended[lane] + self.ours["credits"][lane]
        if limit - self.limits[lane] >= self.ours["credits"][lane] / 2:
            self.limits[lane] = limit
            self.tell(m.CREDIT, {"lane": lane, "limit": limit})
