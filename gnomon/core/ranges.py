"""Ranges of numbers in settings: declared on the field, with the reason that an error shows.

    learning_rate: Annotated[float, Range("a larger step destroys the weights", gt=0, le=10)] = 3e-4

Settings classes, the dataclasses of algorithms and options of the command line use the same `Range`. A boolean is
no number, and text that YAML leaves as text (`1e-4`) is parsed as a number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

LARGEST_INT = 2**63 - 1  # of SQLite and of torch.int64
LARGEST_FLOAT, SMALLEST_FLOAT = 3.4e38, 1.2e-38  # of float32, in which models compute


@dataclass(frozen=True)
class Range:
    """Valid numbers of a setting; metadata of `Annotated[int, …]` or `Annotated[float, …]`.

    Without bounds any finite number that float32 or int64 can hold is in range.

    Args:
        why: the reason, which ends the error's sentence.
        gt: exclusive lower bound.
        ge: inclusive lower bound.
        lt: exclusive upper bound.
        le: inclusive upper bound.
    """

    why: str
    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None

    def fault(self, number: float) -> str | None:
        """Describe what is wrong with a number, as the end of a sentence; `None` if it is in range."""
        if isinstance(number, float) and not math.isfinite(number):
            return f"must be finite and {self}, not {number}, since {self.why}"
        inside = (
            (self.gt is None or number > self.gt)
            and (self.ge is None or number >= self.ge)
            and (self.lt is None or number < self.lt)
            and (self.le is None or number <= self.le)
        )
        if not inside:
            return f"must be {self}, not {_shown(number)}, since {self.why}"
        if isinstance(number, float) and 0 < abs(number) < SMALLEST_FLOAT:
            return f"must be 0 or at least {SMALLEST_FLOAT:g} in size, not {number}, since float32 rounds it to 0"
        if abs(number) > (LARGEST_FLOAT if isinstance(number, float) else LARGEST_INT):
            return f"must fit into 64 bits and float32, not {_shown(number)}, since no computation could hold it"
        return None

    def __str__(self) -> str:
        """The bounds in words."""
        low = [f"above {_shown(self.gt)}"] if self.gt is not None else []
        low += [f"at least {_shown(self.ge)}"] if self.ge is not None else []
        high = [f"below {_shown(self.lt)}"] if self.lt is not None else []
        high += [f"at most {_shown(self.le)}"] if self.le is not None else []
        return " and ".join(low + high) or "a number"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return pydantic's schema of the type, preceded by the checks of booleans, text and the range."""
        from pydantic_core import PydanticCustomError, core_schema

        def check(value: Any, inner: Any) -> Any:
            if isinstance(value, bool):
                raise PydanticCustomError("number", "must be a number, not true or false")
            if isinstance(value, str):
                value = parse_number(value, source)
            if isinstance(value, int | float) and (fault := self.fault(value)):
                raise PydanticCustomError("range", "{fault}", {"fault": fault})
            return inner(value)

        return core_schema.no_info_wrap_validator_function(check, handler(source))


def parse_number(text: str, kind: type) -> Any:
    """Parse a number as YAML 1.2 and people write it (`1e-4`); any other text is returned as it is."""
    try:
        number = float(text)
        if kind is int:
            return (
                int(number)
                if math.isfinite(number) and number.is_integer() and abs(number) < 2**53
                else int(text)
            )
    except (ValueError, OverflowError):
        return text
    return number


def _shown(number: float) -> str:
    """Format a number for people; very large ones by their number of digits."""
    if isinstance(number, int) and abs(number) >= 10**15:
        return "2^63" if number == 2**63 else f"a number of {int(number.bit_length() * math.log10(2)) + 1} digits"
    return f"{number:g}" if isinstance(number, float) else str(number)


Finite = Annotated[float, Range("no other number can be computed with")]
Seed = Annotated[int, Range("generators of random numbers take no other", ge=0, lt=2**63)]
Share = Annotated[float, Range("it is a share", ge=0, le=1)]
Weight = Annotated[float, Range("a negative weight would turn the term around", ge=0, le=1e6)]
Positive = Annotated[float, Range("at 0 nothing would be learned, and below 0 the opposite", gt=0, le=1e6)]
Tokens = Annotated[int, Range("a model reads no longer texts", ge=1, le=2**27)]
BudgetTokens = Annotated[int, Range("a budget of none trains nothing, and none is larger", ge=1, le=10**18)]
Count = Annotated[int, Range("less is nothing to do, and more no machine does", ge=1, le=10**9)]
Completions = Annotated[int, Range("it counts completions of a prompt", ge=1, le=10**6)]
Temperature = Annotated[float, Range("it divides logits; 0 takes the likeliest token", ge=0, le=1000)]
TopP = Annotated[float, Range("it is a probability, and 0 leaves no token", gt=0, le=1)]
TopK = Annotated[int, Range("it counts tokens; 0 keeps all", ge=0, le=2**31 - 1)]
Gigabytes = Annotated[float, Range("it is memory in gigabytes", ge=0, le=1e6)]
Port = Annotated[int, Range("it is a TCP port", ge=0, le=65_535)]
Seconds = Annotated[float, Range("it is a time in seconds, and 1e9 are 31 years", ge=0, le=1e9)]
