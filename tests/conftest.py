"""For all tests: what every stage of the compiler makes is checked against its grammar.

The environment is where the switch is, so that commands which tests start in processes of their own
verify too. AUTODIFFC_VERIFY=0 outside turns it off, to see what the tests cost without.
"""

from __future__ import annotations

import os
import signal

os.environ.setdefault("AUTODIFFC_VERIFY", "1")

# A shell starts what it runs in the background with Ctrl-C ignored, and every process below would
# inherit that: the tests of Ctrl-C need it.
signal.signal(signal.SIGINT, signal.default_int_handler)
