"""Is `bench eyes` at least so many times as fast as Python, with the same answers? `side_by_side.py LEAST COMMAND…`

COMMAND prints the table as JSON. Memory is not looked at: a debug build's own code is a third of what it may hold.
"""

import json
import subprocess
import sys


def main():
    least, command = float(sys.argv[1]), sys.argv[2:]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if said.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)} ended with {said.returncode}")
    table = json.loads(said.stdout)
    if not table["answers_agree"]:
        sys.exit(f"the two sides differ: {table['answers']}")
    asked = {row["work"]: row["ratio"] for row in table["rows"] if row["asked"] is not None}
    print(", ".join(f"{name}: {ratio:.1f}" for name, ratio in asked.items()))
    sys.exit(0 if asked and min(asked.values()) >= least else 1)


main()
