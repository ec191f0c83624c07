"""Fragments of docs/wire-format.md, section 1: cutting a message into frames, and putting frames together."""

import dataclasses

import rdbn
from rdbn import EXTENSION_ATTACHMENT, EXTENSION_FRAGMENT, EXTENSION_STREAM_WINDOW, MORE, Frame, extension

# More than a frame has beside its body.
OVERHEAD_BYTES = 64


def fits(frame, frame_bytes_max):
    """Whether a message fits a frame as it is."""
    return len(frame.body) <= frame_bytes_max - OVERHEAD_BYTES


def cut(frame, frame_bytes_max):
    """The frames of a message, in order."""
    if fits(frame, frame_bytes_max):
        return [frame]
    total, room = len(frame.body), frame_bytes_max - OVERHEAD_BYTES
    parts = []
    for offset in range(0, total, room):
        body = frame.body[offset : offset + room]
        more = MORE if offset + len(body) < total else 0
        # What only the first one says comes behind, as the document has the order.
        others = frame.extensions if offset == 0 else []
        extensions = [extension(EXTENSION_FRAGMENT, total, offset), *others]
        parts.append(dataclasses.replace(frame, flags=frame.flags | more, body=body, extensions=extensions))
    return parts


class OutOfPlace(Exception):
    """A fragment, or what comes between fragments, is not at its place: the connection ends."""


class Reassembly:
    """The messages under way in one direction, one a lane."""

    def __init__(self):
        self.lanes = [None] * rdbn.LANES

    def begins(self, frame):
        """Whether a fragment is its message's first one."""
        partial, (total, offset) = self.lanes[frame.lane], frame.fragment
        if partial is None:
            if offset != 0:
                raise OutOfPlace("a fragment without those before it")
            return True
        same = (frame.message_type, frame.correlation, total) == (partial.message_type, partial.correlation, partial.total)
        if not same or offset != partial.received:
            raise OutOfPlace("a fragment out of its order")
        return False

    def add(self, frame, wanted=True):
        """Takes a fragment in. Returns whether the message is whole, and the message; None for one that nobody wants."""
        if self.begins(frame):
            self.lanes[frame.lane] = _Partial(frame, wanted)
        partial = self.lanes[frame.lane]
        partial.received += len(frame.body)
        if partial.pieces is not None:
            partial.pieces.append(frame.body)
        if partial.received < partial.total:
            return False, None
        self.lanes[frame.lane] = None
        if partial.pieces is None:
            return True, None
        return True, dataclasses.replace(frame, body=b"".join(partial.pieces), extensions=partial.extensions)

    def end(self, correlation):
        """The sender has given the message up."""
        for lane, partial in enumerate(self.lanes):
            if partial is not None and partial.correlation == correlation:
                self.lanes[lane] = None

    def discard(self, correlation):
        """Nobody wants the message any more; what still comes is thrown away."""
        for partial in self.lanes:
            if partial is not None and partial.correlation == correlation:
                partial.pieces = None

    def check_between(self, frame):
        """A whole message or answer may not come between the fragments of another one."""
        if self.lanes[frame.lane] is not None:
            raise OutOfPlace("between the fragments of another message")


class _Partial:
    def __init__(self, first: Frame, wanted):
        self.message_type, self.correlation = first.message_type, first.correlation
        self.total, self.received, self.pieces = first.fragment[0], 0, [] if wanted else None
        kept = (EXTENSION_ATTACHMENT, EXTENSION_STREAM_WINDOW)
        self.extensions = [each for each in first.extensions if each[0] in kept]
