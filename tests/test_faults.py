"""What stands after kill -9; `benchmarks/robustness/faults.py` has more of it, and more kills."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "robustness" / "faults.py"


def test_what_is_killed_ends_as_if_it_had_not_been():
    command = [sys.executable, SCRIPT, "kill", "--count", "1", "--seed", "1"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("1 kills, 0 faults") == 4
