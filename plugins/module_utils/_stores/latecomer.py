# Copyright (c) 2026, qubes.vmconfig contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the qubes.vmconfig collection: it may change at any time.

"""The process that takes answers which come when nobody waits for them any more; late.py says why, and starts it.

``python3 -I -S - MARK SECONDS BYTES DESCRIPTOR...``, with this text as its standard input. It needs nothing but Python.
"""

from __future__ import annotations

import os
import select
import sys
import time

AT_ONCE = 65536


def main(arguments):
    seconds, most, *descriptors = map(int, arguments[2:])
    if leave_its_parent():
        take(seconds, dict.fromkeys(descriptors, most))


def leave_its_parent():
    """Whether this is the process that stays: in a session of its own, with nothing of what it was given but the connections."""
    waits, told = os.pipe()
    if os.fork():
        os.close(told)
        # Its parent ends the whole session when this process has ended, so not before the other one has left it.
        os.read(waits, 1)
        return False
    os.setsid()
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    for descriptor in (nothing, waits, told):
        os.close(descriptor)
    return True


def take(seconds, left):
    """Reads from each connection until its other side hangs up, the time is over, or it was too much; keeps nothing of it."""
    end = time.monotonic() + seconds
    poll = select.poll()
    for descriptor in left:
        poll.register(descriptor, select.POLLIN)
    while left and time.monotonic() < end:
        for descriptor, _event in poll.poll(max(0.0, end - time.monotonic()) * 1000):
            size = read(descriptor)
            left[descriptor] -= size
            if size == 0 or left[descriptor] < 0:
                poll.unregister(descriptor)
                os.close(descriptor)
                del left[descriptor]


def read(descriptor):
    """How many bytes there were; none at the end."""
    try:
        return len(os.read(descriptor, AT_ONCE))
    except OSError:
        return 0


if __name__ == "__main__":
    main(sys.argv)
