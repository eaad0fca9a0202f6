"""Unused memory is returned to the system."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import gc, psutil
from services.runtime.process import collect_seldom
from services.runtime.process import give_back_now

def mib():
    return psutil.Process().memory_info().rss >> 20

collect_seldom(200_000, 10, 10)
{}
full = mib()
give_back_now()
print(full, mib())
"""
AMONG_OTHERS = "rows = [b'%d' % number * 100 for number in range(300_000)]; rows = rows[::50]"
IN_CYCLES = """
for number in range(200):
    cycle = [b'x' * (1 << 20)]
    cycle.append(cycle)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such call")
@pytest.mark.parametrize(
    "use", [pytest.param(AMONG_OTHERS, id="among others"), pytest.param(IN_CYCLES, id="cycles")]
)
def test_unused_memory_is_returned(use: str) -> None:
    """Rows between rows that live on; and large things that only their own cycle holds."""
    program = PROGRAM.format(use)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    full, after = map(int, ran.stdout.split())

    assert full > 150, "it went back by itself: is this still needed?"
    assert after < full / 2
