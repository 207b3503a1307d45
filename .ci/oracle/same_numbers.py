"""Are two JSON files the same but for the last digits of fractions? `same_numbers.py COMMITTED NOW`"""

import json
import math
import sys
from pathlib import Path


def differences(committed, now, where="$"):
    """Yields where they differ. Fractions may by 1e-9 of their value: processors round differently."""
    if isinstance(committed, dict) and isinstance(now, dict):
        for key in sorted(committed.keys() | now.keys()):
            yield from differences(committed.get(key), now.get(key), f"{where}.{key}")
    elif isinstance(committed, list) and isinstance(now, list) and len(committed) == len(now):
        for index, pair in enumerate(zip(committed, now)):
            yield from differences(*pair, f"{where}[{index}]")
    elif isinstance(committed, float) and isinstance(now, float):
        if not math.isclose(committed, now, rel_tol=1e-9, abs_tol=1e-6):
            yield f"{where}: {committed} committed, {now} now"
    elif committed != now:
        yield f"{where}: {str(committed)[:60]} committed, {str(now)[:60]} now"


if __name__ == "__main__":
    found = list(differences(*(json.loads(Path(name).read_text()) for name in sys.argv[1:3])))
    print("\n".join(found[:20]) if found else "equal")
    sys.exit(1 if found else 0)
