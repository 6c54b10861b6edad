"""Options as the command line gives them, text, made into what they mean before anything is asked or changed.

Invoke's own conversions answer a word with a traceback. Everything here raises InputError naming the option.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime, timezone
from decimal import Decimal

from torchneuron.core.errors import InputError
from torchneuron.core.schema import unknown_name

# EC2 writes 17 hexadecimal digits, before 2018 8, and promises neither: what only looks odd is left for it to refuse.
_ID_DIGITS = r"[0-9a-z]{8,32}"


def whole_number(option: str, text: str) -> int:
    """`text` as a number of 0 or more; 0 when it is empty."""
    if not text:
        return 0
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise InputError(f"{text!r} is not a whole number.", do=f"Give {option} as at most nine digits, nothing else.")
    return int(text)


def amount(option: str, text: str) -> Decimal | None:
    """`text` as an amount of money above 0, such as `53.64`; None when it is empty."""
    if not text:
        return None
    if not re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) or not Decimal(text):
        raise InputError(f"{text!r} is not a price.", do=f"Give {option} as a number above 0, such as 53.64.")
    return Decimal(text)


def moment(option: str, text: str) -> datetime | None:
    """`text` (ISO 8601; UTC unless it says otherwise) as an aware time in UTC; None when it is empty."""
    if not text:
        return None
    try:
        # Python 3.10 does not read the Z that AWS writes.
        parsed = datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace("z", "+00:00"))
        # A date at either end of the calendar has no UTC.
        return parsed.replace(tzinfo=timezone.utc) if parsed.tzinfo is None else parsed.astimezone(timezone.utc)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{text!r} is not a time.", do=f"Give {option} as ISO 8601, such as 2026-01-31T11:30:00Z."
        ) from error


def one_of(option: str, text: str, known: Collection[str]) -> str:
    """`text`, which has to be one of `known`."""
    if text not in known:
        raise InputError(f"There is no {option} {text!r}.", why=unknown_name(text, list(known)))
    return text


def several(option: str, text: str) -> tuple[str, ...]:
    """The parts of `text` between commas, each once, in order; none when it is empty."""
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(parts):
        raise InputError(f"{option} {text!r} has an empty part.", do="Separate names by single commas.")
    return tuple(dict.fromkeys(parts))


def aws_id(option: str, text: str, prefix: str) -> str:
    """`text` as an id that EC2 made: `prefix`, a dash and hexadecimal digits. It may not be left out."""
    if not text:
        raise InputError(f"{option} is missing.")
    if not re.fullmatch(rf"{prefix}-{_ID_DIGITS}", text, re.ASCII):
        raise InputError(
            f"{text!r} is not an id for {option}.", do=f"Such ids look like {prefix}-0123456789abcdef0: copy it whole."
        )
    return text
