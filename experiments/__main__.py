"""``python -m experiments no_rope 11 12 13``: the numbers of an experiment under these seeds."""

from __future__ import annotations

import sys
import time

from experiments.registry import SEEDS, find, run


def main(words: list[str]) -> int:
    """Print every number and every claim; 1 where a claim does not hold, 2 without a name."""
    if not words:
        print(__doc__)
        return 2
    name, *seeds = words
    began = time.process_time()
    table = run(name, [int(seed) for seed in seeds] or SEEDS)
    print(f"{name}, seeds {table.seeds}: {time.process_time() - began:.0f} s of processor time")
    for arm in table.arms:
        for measure in table.measures:
            values = "  ".join(f"{value:.4g}" for value in table.values(arm, measure))
            print(f"  {arm:14} {measure:14} {values}")
    claims = find(name).claims(table)
    for claim in claims:
        print(f"  {'holds' if claim.holds else 'FAILS'}: {claim.text}")
    return 0 if all(claim.holds for claim in claims) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
