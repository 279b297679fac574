"""Which failures are the user's to mend, and the sentence that says how."""

from __future__ import annotations

import errno

from echoflow.types import InputError

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
PEER_LOST = ("Connection closed by peer", "Connection reset by peer", "[gloo/transport")
NO_PATH = {errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}


def explain(error: Exception) -> str | None:
    """The sentence to print for a failure the user can mend; None for a bug."""
    if isinstance(error, InputError):
        return " ".join(str(error).split())
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__:
        return "not enough memory; ask for fewer videos at a time, or use a larger machine."
    if isinstance(error, OSError):
        return _explain_file(error)
    if type(error).__name__.startswith("Dist") or any(word in str(error) for word in PEER_LOST):
        return (
            "another process of this job has ended, and this one cannot go on alone; see its "
            "message, then go on from the last checkpoint with --resume."
        )
    return None


def _explain_file(error: OSError) -> str | None:
    where = f" at {error.filename}" if error.filename else ""
    if error.errno in DISK_FULL:
        return f"the disk is full{where}; free some space or choose another output folder."
    if error.errno in NOT_ALLOWED:
        return f"no permission to write or read{where}; choose another place or change its rights."
    if error.errno == errno.EISDIR and error.filename:
        return f"{error.filename} is a folder; give a file."
    if error.errno in NO_PATH and error.filename:
        return f"{error.filename} is no path that a file can have; check it."
    if error.errno == errno.ENOENT and error.filename:
        return f"{error.filename} does not exist; check the path."
    return None
