"""Random seeds of benches: new ones for each commit, and the same ones wherever it is tested.

Environment variable:

``SEED=n``
    This one for all; `SEED=random` draws one by chance.
"""

import functools
import hashlib
import os
import random
import subprocess
from pathlib import Path

__all__ = ["BITS", "of_run"]

BITS = 31
ROOT = Path(__file__).resolve().parents[1]


def of_run(*what: str) -> int:
    """The seed for what runs: of `SEED`, else of the committed files and `what`.

    Without a commit to go by, one is drawn. Raises ValueError if `SEED` is neither.
    """
    asked = os.environ.get("SEED", "")
    if asked not in ("", "random"):
        try:
            return int(asked)
        except ValueError as error:
            raise ValueError(f"SEED must be a number or 'random', not '{asked}'") from error
    files = "" if asked else _committed()
    if not files:
        return random.SystemRandom().randrange(1 << BITS)
    digest = hashlib.sha256("\0".join((files, *what)).encode()).digest()
    return int.from_bytes(digest, "big") % (1 << BITS)


@functools.cache
def _committed() -> str:
    """Object name of the committed tree of files; empty if git does not know it."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--verify", "--quiet", "HEAD^{tree}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
