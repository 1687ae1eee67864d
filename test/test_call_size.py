"""How many objects a call takes while memory runs out and comes back: never too many, never too few for ever."""

from __future__ import annotations

import numpy as np
import pytest
from device_engines import Clock

from c2f_ros.engines.call_size import FIRST_WAIT_S, LONGEST_WAIT_S, CallSize


def test_a_larger_call_is_tried_step_by_step_and_proven_by_a_call_that_needs_it():
    clock = Clock()
    size = CallSize(8, clock)
    assert size.failed() and size.failed() and size.rows == 2
    size.worked(2)
    assert size.rows == 2
    clock.now += FIRST_WAIT_S
    size.worked(1)
    assert size.rows == 4 and "2 instead of 8" in size.remark
    size.worked(2)
    assert size.rows == 4 and "2 instead of 8" in size.remark  # what fitted before proves nothing
    size.worked(3)
    assert size.rows == 8 and "4 instead of 8" in size.remark
    size.worked(8)
    assert size.rows == 8 and size.remark == "8 objects a call again, after the GPU ran out of memory"


def test_each_failure_in_a_row_doubles_the_wait_up_to_a_bound_and_a_lasting_success_begins_anew():
    clock, waits = Clock(), []
    size = CallSize(4, clock)
    assert size.failed()
    for _ in range(9):
        began = clock.now
        while size.rows == 2:
            clock.now += 1
            size.worked(2)
        waits.append(clock.now - began)
        size.failed()
    assert waits == [min(FIRST_WAIT_S * 2**k, LONGEST_WAIT_S) for k in range(9)]
    clock.now += LONGEST_WAIT_S
    size.worked(2)
    size.worked(4)
    clock.now += 1
    size.failed()  # so soon that the success was none
    clock.now += LONGEST_WAIT_S - 1
    size.worked(2)
    assert size.rows == 2
    clock.now += 1
    size.worked(2)
    size.worked(4)
    clock.now += LONGEST_WAIT_S
    size.failed()
    clock.now += FIRST_WAIT_S
    size.worked(2)
    assert size.rows == 4


def test_a_single_object_cannot_be_halved():
    size = CallSize(1, Clock())
    assert not size.failed() and size.rows == 1 and size.remark == ""
    size.worked(1)
    assert size.rows == 1


@pytest.mark.parametrize("most", [1, 2, 5, 32])
def test_whatever_happens_calls_stay_within_their_bounds_and_grow_again(most):
    clock, rng = Clock(), np.random.default_rng(most)
    size = CallSize(most, clock)
    for _ in range(500):
        clock.now += float(rng.exponential(20))
        if rng.random() < 0.3:
            is_single = size.rows == 1
            assert size.failed() != is_single
        else:
            size.worked(int(rng.integers(1, size.rows + 1)))
        assert 1 <= size.rows <= most
    for _ in range(2 * most):
        clock.now += LONGEST_WAIT_S
        size.worked(size.rows)
    assert size.rows == most and "instead" not in size.remark
