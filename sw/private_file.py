"""Files with a secret in them: read only if nobody but their owner may.

SEC: STATION.PSK_FILE_MODE. A file that others than its owner may use is refused before it is
read; the mode is that of the very file that is read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sw.config_values import ConfigError


def read_private(path: Path, what: str, octets_max: int) -> bytes:
    """The octets of a private file; raises ConfigError.

    Parameters
    ----------
    what : str
        What is in it, for messages: `the pre-shared key`.
    """
    try:
        # What is no file must not hold us up: a FIFO would.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            mode = os.fstat(fd).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError(f"{what} {path} is no file; name one")
            if mode & 0o077:
                raise ConfigError(
                    f"others than its owner may use {what} {path} (mode "
                    f"{stat.S_IMODE(mode):04o}); type: chmod 0600 {path}"
                )
            octets = os.read(fd, octets_max + 1)
        finally:
            os.close(fd)
    except OSError as error:
        raise ConfigError(f"cannot read {what} {path}: {error.strerror or error}") from error
    if len(octets) > octets_max:
        raise ConfigError(f"{what} {path} is longer than {octets_max} octets; is it another file?")
    return octets
