"""A mailbox of one, newest wins, and the single worker that empties it: latency stays bounded when inference is slower
than the camera."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Holds at most one item; a newer one replaces it."""

    def __init__(self) -> None:
        self._ready = threading.Condition()
        self._item: T | None = None
        self._is_closed = False

    def put(self, item: T) -> bool:
        """Leave `item`; True if an item nobody took was replaced."""
        with self._ready:
            is_replaced = self._item is not None
            self._item = item
            self._ready.notify()
            return is_replaced

    def take(self) -> T | None:
        """The item, waiting for one; None once the mailbox is closed."""
        with self._ready:
            self._ready.wait_for(lambda: self._item is not None or self._is_closed)
            item, self._item = self._item, None
            return None if self._is_closed else item

    def close(self) -> bool:
        """Wake the worker for good; True if an item was left untaken."""
        with self._ready:
            self._is_closed = True
            self._ready.notify_all()
            return self._item is not None


class Worker(Generic[T]):
    """A thread that works on the newest item. An exception goes to `on_error`; the worker goes on."""

    def __init__(self, work: Callable[[T], None], on_error: Callable[[Exception], None]) -> None:
        self._mailbox: Mailbox[T] = Mailbox()
        self._work, self._on_error = work, on_error
        self._thread = threading.Thread(target=self._run, name="c2f_inference", daemon=True)
        self._thread.start()

    def submit(self, item: T) -> bool:
        """Hand over an item; True if one that waited is skipped for it."""
        return self._mailbox.put(item)

    def stop(self, timeout_s: float) -> tuple[bool, bool]:
        """Finish the item at work and end: (the thread has ended within `timeout_s`, an item was left undone)."""
        is_left = self._mailbox.close()
        self._thread.join(timeout_s)
        return not self._thread.is_alive(), is_left

    def _run(self) -> None:
        while (item := self._mailbox.take()) is not None:
            try:
                self._work(item)
            except Exception as error:  # the worker must outlive any one frame; the owner logs the traceback
                self._on_error(error)
