"""
The tests of authotron: C{make help} lists their layers.

The environment variable C{AUTHOTRON_STREAMS} says how many random examples tests draw: few in
C{make unit}, many in C{make properties} and C{make fuzz}.
"""

from __future__ import annotations

import atexit
import gc
import os

from hypothesis import HealthCheck, settings

STREAMS = int(os.environ.get("AUTHOTRON_STREAMS", "10"))
"""How many random streams of bytes a test sends to the gateway."""

EXAMPLES = max(10, STREAMS // 5)
"""How many examples any other test with hypothesis draws."""

settings.register_profile(
    "authotron",
    max_examples=EXAMPLES,
    # How long an example takes depends on the machine.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("authotron")

# A collection of the oldest generation visits all imported modules, which takes a quarter of a
# second each time, and finds nothing there.
gc.set_threshold(700, 10, 1000)
# At its end the interpreter would search all objects for garbage, which takes more than a second.
atexit.register(gc.freeze)
