"""The stacks that the SDK records: short, ours alone, and only while the program makes its resources."""

import sys
import traceback
from pathlib import Path

import pytest
from pulumi.runtime import resource

from keystone import call_stacks


class Outermost:
    def __init__(self) -> None:
        self.frames = resource._get_stack_trace().frames


class Middle(Outermost):
    def __init__(self) -> None:
        super().__init__()


class Made(Middle):
    """As a resource of the SDK: three constructors between the stack's end and the line that made it."""

    def __init__(self) -> None:
        super().__init__()


def test_a_recorded_stack_ends_at_our_own_lines() -> None:
    whole = Made().frames
    with call_stacks.short():
        short = Made().frames
    assert 0 < len(short) < len(whole)
    assert Path(short[0].pc.uri).name == Path(__file__).name


def test_what_is_raised_has_its_whole_traceback() -> None:
    def deep(left: int) -> None:
        if left:
            deep(left - 1)
        else:
            raise ValueError("at the bottom")

    with pytest.raises(ValueError, match="at the bottom") as caught, call_stacks.short():
        deep(call_stacks.FRAMES * 3)
    assert len(traceback.extract_tb(caught.value.__traceback__)) > call_stacks.FRAMES * 3
    assert not hasattr(sys, "tracebacklimit")
