"""The script that injects faults runs, and finds nothing lost; `inject.py` alone looks harder."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("inject.py")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")
def test_nothing_is_lost():
    words = ["kill", "twice", "--runs", "1", "--commands", "download", "export"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("| 1 | 0 |") == 4
