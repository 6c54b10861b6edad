"""Options of a command: how a dataclass declares them, and how their text is converted.

This module loads nothing heavy: `invoke --list` imports it with every options dataclass. The conversions raise
InputError naming the option, where Invoke's own would end in a traceback.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from torchneuron.core.errors import InputError
from torchneuron.core.text import unknown_name

Parse = Callable[[str, str], Any]
"""Converts an option's text: takes the option (`--count`) and the text, raises InputError."""

# EC2 writes 17 hexadecimal digits (8 before 2018) and promises neither, so this refuses only what cannot be an id.
_ID_DIGITS = r"[0-9a-z]{8,32}"


def option(help: str, *, default: Any = "", parse: Parse | None = None, value_is_optional: bool = False) -> Any:
    """A dataclass field for an option with a value: text, or what `parse` makes of it.

    `default` applies when the option is missing or empty; it is not parsed. With `value_is_optional`, the field is
    True for an option without a value.
    """
    metadata = {"help": help, "parse": parse, "value_is_optional": value_is_optional}
    return dataclasses.field(default=default, metadata=metadata)


def flag(help: str) -> Any:
    """A dataclass field for an option without a value: a bool."""
    return dataclasses.field(default=False, metadata={"help": help})


def repeatable(help: str) -> Any:
    """A dataclass field for an option that may be repeated: a tuple of texts."""
    return dataclasses.field(default=(), metadata={"help": help})


def whole_number(option: str, text: str) -> int:
    """`text` as a number of 0 or more; 0 when it is empty."""
    if not text:
        return 0
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise InputError(f"{text!r} is not a whole number.", do=f"Give {option} as one to nine digits.")
    return int(text)


def amount(option: str, text: str) -> Decimal | None:
    """`text` as an amount of money above 0, such as `53.64`; None when it is empty."""
    if not text:
        return None
    if not re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) or not Decimal(text):
        raise InputError(f"{text!r} is not a price.", do=f"Give {option} as a number above 0, such as 53.64.")
    return Decimal(text)


def moment(option: str, text: str) -> datetime | None:
    """`text`, ISO 8601 and in UTC unless it has an offset, as an aware time in UTC; None when it is empty."""
    if not text:
        return None
    try:
        # Python 3.10 does not read the Z that AWS writes.
        parsed = datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace("z", "+00:00"))
        # Converting a date at either end of the calendar overflows.
        return parsed.replace(tzinfo=timezone.utc) if parsed.tzinfo is None else parsed.astimezone(timezone.utc)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{text!r} is not a time.", do=f"Give {option} as ISO 8601, such as 2026-01-31T11:30:00Z."
        ) from error


def one_of(option: str, text: str, known: Collection[str]) -> str:
    """`text`, if it is one of `known`."""
    if text not in known:
        raise InputError(f"There is no {option} {text!r}.", why=unknown_name(text, list(known)))
    return text


def several(option: str, text: str) -> tuple[str, ...]:
    """The parts of `text` between commas, in order, without duplicates; empty when `text` is."""
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(parts):
        raise InputError(f"{option} {text!r} has an empty part.", do="Separate names by single commas.")
    return tuple(dict.fromkeys(parts))


def aws_id(option: str, text: str, prefix: str) -> str:
    """`text`, if it is an EC2 id: `prefix`, a dash and hexadecimal digits. An empty one is refused."""
    if not text:
        raise InputError(f"Missing option: {option}.")
    if not re.fullmatch(rf"{prefix}-{_ID_DIGITS}", text, re.ASCII):
        raise InputError(
            f"{text!r} is not an id for {option}.", do=f"Such ids look like {prefix}-0123456789abcdef0: copy it whole."
        )
    return text
