"""Ctrl-C and the request of a system to end, held until a step is done, so that no weight is half changed."""

from __future__ import annotations

import signal
import threading


class Interrupts:
    """While it is entered, the first signal sets `stop`, and a second one ends the process as usual."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self):
        self.stop = False
        self.before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():  # others can't set handlers
            self.before = {number: signal.signal(number, self.note) for number in self.SIGNALS}
        return self

    def note(self, number, frame):
        self.stop = True
        signal.signal(number, self.before[number])

    def __exit__(self, *error):
        for number, handler in self.before.items():
            signal.signal(number, handler)
