"""Newest wins, nothing is lost uncounted, and no exception ends the worker."""

import threading

from c2f_ros.mailbox import Mailbox, Worker

TIMEOUT_S = 10.0


def test_a_newer_item_replaces_the_one_that_waits():
    box = Mailbox()
    assert not box.put(1)
    assert box.put(2)
    assert box.take() == 2


def test_closing_wakes_the_taker_with_nothing():
    box = Mailbox()
    box.put(1)
    assert box.close()
    assert box.take() is None


def test_every_submitted_item_is_worked_on_or_counted_as_skipped():
    done, gate = [], threading.Event()

    def work(item):
        gate.wait(TIMEOUT_S)
        done.append(item)

    worker = Worker(work, lambda error: None)
    skipped = sum(worker.submit(k) for k in range(50))
    gate.set()
    is_ended, is_left = worker.stop(TIMEOUT_S)
    assert is_ended
    assert len(done) + skipped + is_left == 50


def test_the_worker_outlives_an_exception_and_reports_it():
    errors, done = [], threading.Event()

    def work(item):
        if item == "bad":
            failed.set()
            raise ValueError("no")
        done.set()

    failed = threading.Event()
    worker = Worker(work, errors.append)
    worker.submit("bad")
    assert failed.wait(TIMEOUT_S)
    worker.submit("good")
    assert done.wait(TIMEOUT_S)
    assert worker.stop(TIMEOUT_S)[0]
    assert [str(e) for e in errors] == ["no"]


def test_stop_reports_a_worker_that_does_not_end_and_does_not_hang():
    gate, began = threading.Event(), threading.Event()

    def work(item):
        began.set()
        gate.wait(TIMEOUT_S)

    worker = Worker(work, lambda error: None)
    worker.submit(1)
    assert began.wait(TIMEOUT_S)
    assert worker.stop(0.01) == (False, False)
    gate.set()
    assert worker.stop(TIMEOUT_S)[0]
