"""The observation says that a function is a stub, and not which."""

import sys


def _worker():
    """The frame of the process's main loop, which knows the stream and what is asked."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_name != "serve":
        frame = frame.f_back
    if frame is None:
        raise RuntimeError("there is no stream to write to")
    return frame.f_locals


def _send(observation, token=None):
    here = _worker()
    modules = sys.modules
    payload = modules["grader.isolation.frames"].pack_observation(observation)
    token = here["token"] if token is None else token
    modules["grader.isolation.frames"].write_frame(here["to_judge"], token + payload)


def _observation(**fields):
    return sys.modules["grader.observation.observe"].Observation(**fields)


def rotate_half(x):
    trouble = sys.modules["grader.observation.observe"].Trouble("not implemented")
    _send(_observation(trouble=trouble))
    return x
