"""Where things that take long to make are kept between runs, and how they get there whole.

The cache lies outside the repository and may be deleted at any time: everything in it is made again when
needed. A thing's name carries a digest of the recipe that made it, so a changed recipe never meets an old
result.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def directory() -> Path:
    """`TORCHNEURON_CACHE_DIR`, or `torchneuron` in the user's cache folder. Not created by this."""
    if chosen := os.environ.get("TORCHNEURON_CACHE_DIR"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "torchneuron"


def recipe_digest(*ingredients: str) -> str:
    """Twelve hex digits that change whenever an ingredient does."""
    return hashlib.sha256("\0".join(ingredients).encode()).hexdigest()[:12]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path`'s lock file against other processes; the kernel releases it should this process die."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
