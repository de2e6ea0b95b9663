"""What every test finds, however the tests were started."""

from __future__ import annotations

import signal

# A shell without job control starts what it runs in the background with SIGINT ignored, and a
# program that is started with it ignored goes on ignoring it: then nothing could be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
