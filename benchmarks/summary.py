"""The table of limits, peers, ours and ratios out of RESULTS.md; measures nothing.

Run: python -m benchmarks.summary
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Print it."""
    text = (Path(__file__).parent / "RESULTS.md").read_text(encoding="utf-8")
    _, _, after = text.partition("## Summary\n")
    sys.stdout.write(after.partition("\n## ")[0].strip() + "\n")


if __name__ == "__main__":
    main()
