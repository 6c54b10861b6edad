"""The folder where slow builds are kept between runs.

It lies outside the repository and may be deleted at any time: everything in it is rebuilt when needed. The name of a
cached thing contains a digest of its recipe, so a changed recipe never finds an old result.
"""

import ast
import fcntl
import hashlib
import inspect
import os
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def directory() -> Path:
    """`TORCHNEURON_CACHE_DIR`, or `torchneuron` in the user's cache folder. It may not exist yet."""
    if chosen := os.environ.get("TORCHNEURON_CACHE_DIR"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "torchneuron"


def recipe_digest(*ingredients: str) -> str:
    """Twelve hex digits that change whenever an ingredient does."""
    return hashlib.sha256("\0".join(ingredients).encode()).hexdigest()[:12]


def code_of(function: Callable[..., object]) -> str:
    """A function's code without comments and docstring: an ingredient that prose does not change."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    (definition,) = tree.body
    assert isinstance(definition, ast.FunctionDef)
    if ast.get_docstring(definition) is not None:
        del definition.body[0]
    return ast.unparse(definition)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file of `path` against other processes. The kernel releases it when this process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
