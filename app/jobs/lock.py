"""The lock of a data folder: who holds it runs the jobs of the SQLite file that lies there.

Apart from `executor`, because a service that runs no jobs itself asks too, and must not load what runs them for it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

LOCK_FILE: Final = "executor.lock"


def is_held(folder: Path) -> bool:
    """Tell whether a living process holds the lock of this folder, as far as it can be seen.

    Looking takes part of the lock for a moment when nobody has it; who wants it just then tries again.
    """
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # nobody has ever held it, or its holder is somebody who hides it from us
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
