"""With an engine slower than the camera what is published is never older than two engine times, newest first, and
every frame left out is counted. The worker is the node's own; time is the test's, so nothing here waits for a clock."""

import queue

import pytest

from c2f_ros.latency import LatencyLog
from c2f_ros.mailbox import Worker

TIMEOUT_S = 10.0


class Rehearsal:
    """A camera and an engine that take as long as the test says: in its own milliseconds."""

    def __init__(self, period: int, engine: int) -> None:
        self.period, self.engine = period, engine
        self._began, self._finish = queue.Queue(), queue.Queue()
        self._worker = Worker(self._infer, lambda error: pytest.fail(str(error)))
        self.sent, self.skipped, self.published = [], 0, []

    def _infer(self, stamp: int) -> None:
        self._began.put(stamp)
        self._finish.get(timeout=TIMEOUT_S)

    def run(self, frames: int) -> None:
        """So many frames; `published` gets (stamp, time of publishing, newest stamp when taken)."""
        arrivals = [k * self.period for k in range(frames)]
        at_work, ends = None, 0
        while arrivals or at_work is not None:
            if at_work is not None and (not arrivals or ends <= arrivals[0]):
                now = ends
                self._finish.put(None)
                self.published.append((at_work[0], now, at_work[1]))
                is_waiting = self.sent[-1] > at_work[1]
                at_work = (self._began.get(timeout=TIMEOUT_S), self.sent[-1]) if is_waiting else None
            else:
                now = arrivals.pop(0)
                self.skipped += self._worker.submit(now)
                self.sent.append(now)
                if at_work is None:
                    at_work = (self._began.get(timeout=TIMEOUT_S), now)
                else:
                    continue
            ends = now + self.engine
        assert self._worker.stop(TIMEOUT_S) == (True, False)


@pytest.mark.parametrize(("period", "engine"), [(33, 80), (33, 34), (10, 1000), (50, 50), (33, 7)])
def test_what_is_published_is_newer_than_two_engine_times_and_what_is_skipped_is_counted(period, engine):
    rehearsal = Rehearsal(period, engine)
    rehearsal.run(200)
    stamps = [stamp for stamp, _, _ in rehearsal.published]
    assert all(now - stamp < 2 * engine for stamp, now, _ in rehearsal.published)
    assert all(stamp == newest for stamp, _, newest in rehearsal.published)
    assert stamps == sorted(set(stamps)) and stamps[-1] == rehearsal.sent[-1]
    assert len(stamps) + rehearsal.skipped == len(rehearsal.sent) == 200
    assert (rehearsal.skipped > 0) == (engine > period)


def test_a_timed_block_is_noted_under_its_stage_and_one_that_raises_is_not():
    log = LatencyLog()
    with log.timed("paste"):
        pass
    with pytest.raises(ValueError, match="broken"), log.timed("engine"):
        raise ValueError("broken")
    assert list(log.summary()) == ["paste"] and log.summary()["paste"]["count"] == 1
