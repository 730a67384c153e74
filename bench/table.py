"""The lines of the table."""

from dataclasses import dataclass

from bench.measure import Result


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table."""

    what: str
    value: str
    bar: str = ""
    held: bool | None = None


MISSED: list[str] = []
"""The lines that were past their bars."""


def show(row: Row) -> None:
    """Print a line as soon as it is known."""
    if row.held is False:
        MISSED.append(row.what)
    verdict = {None: "", True: "ok", False: "MISSED"}[row.held]
    print(f"{row.what:<44} {row.value:>26}  {row.bar:<22} {verdict}".rstrip(), flush=True)


def timed(what: str, result: Result, seconds: float, megabytes: float = 0) -> Row:
    """A line about a run against its bars."""
    bar = f"<= {seconds:.0f} s" + (f", <= {megabytes:.0f} MB" if megabytes else "")
    held = result.seconds <= seconds and (not megabytes or result.megabytes <= megabytes)
    return Row(what=what, value=f"{result.seconds:.1f} s, {result.megabytes:.0f} MB", bar=bar, held=held)
