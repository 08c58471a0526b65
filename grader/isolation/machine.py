"""What this machine offers for isolation, what is chosen, and what is missing."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Mechanism:
    """One thing that a profile rests on; `detail` says which version, or why it is missing."""

    name: str
    available: bool
    detail: str
    needed_for: str


@cache
def best_profile() -> str:
    """`light` where the machine has all that it rests on, else `process`."""
    return "light" if is_offered("light") else "process"


def is_offered(profile: str) -> bool:
    """Whether this machine has all that a profile rests on, which is all of those below it too."""
    needed = {"process": (), "light": ("light",), "full": ("light", "full")}[profile]
    return all(m.available for m in mechanisms() if m.needed_for in needed)


def mechanisms() -> list[Mechanism]:
    """Everything that the profiles need, looked for on this machine."""
    linux = sys.platform == "linux"
    fork = Mechanism("fork", linux, platform.system(), "light")
    return [fork, _landlock(), _seccomp(), _namespaces()]


def _landlock() -> Mechanism:
    if sys.platform != "linux":
        return Mechanism("Landlock", False, "needs Linux", "light")
    from grader.isolation import landlock

    version = landlock.version()
    detail = f"interface version {version}" if version else "not in this kernel, or switched off"
    return Mechanism("Landlock", version > 0, detail, "light")


def _seccomp() -> Mechanism:
    if sys.platform != "linux":
        return Mechanism("seccomp", False, "needs Linux", "light")
    if importlib.util.find_spec("pyseccomp") is None:
        return Mechanism("seccomp", False, "pyseccomp is not installed", "light")
    try:
        import pyseccomp
    except (OSError, RuntimeError) as error:
        return Mechanism("seccomp", False, f"libseccomp: {error}", "light")
    return Mechanism("seccomp", True, f"pyseccomp {pyseccomp.__version__}", "light")


def _namespaces() -> Mechanism:
    """Tried in a child of its own: an unshared process cannot be put back."""
    if sys.platform != "linux":
        return Mechanism("namespaces", False, "needs Linux", "full")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, _try_namespaces().encode())
        os._exit(0)
    os.close(writing)
    refusal = os.read(reading, 1000).decode()
    os.close(reading)
    os.waitpid(child, 0)
    return Mechanism("namespaces", not refusal, refusal or "user, pid, net, mount, ipc", "full")


def _try_namespaces() -> str:
    from grader.isolation import sandbox

    try:
        sandbox.separate()
    except sandbox.CannotLock as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""
