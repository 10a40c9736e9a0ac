"""Time of one epoch's hard-negative mining beside the bare matrix product that it contains.

    python benchmarks/mining.py                 # 2,000 queries in a pool of 20,000, 2,048-d
    python benchmarks/mining.py --pool 2000     # at once

Both run in turn, several rounds, on random unit vectors; the medians are printed.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from ram_cli.losses import hardest_negatives
from ram_cli.losses.pools import BLOCK_SCORES, blocks


def unit(count: int, dimension: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, dimension, generator=generator))


def measure(options: argparse.Namespace) -> tuple[float, float]:
    """Medians of seconds: the bare product, and mining."""
    query = unit(options.queries, options.dimension, 0)
    pool = unit(options.pool, options.dimension, 1)
    random = np.random.default_rng(2)
    query_labels = random.integers(0, options.clusters, options.queries)
    pool_labels = random.integers(0, options.clusters, options.pool)
    bare, mining = [], []
    for _ in range(options.rounds):
        started = time.perf_counter()
        for rows in blocks(len(query), len(pool), BLOCK_SCORES):
            torch.mm(query[rows], pool.T)
        bare.append(time.perf_counter() - started)
        started = time.perf_counter()
        hardest_negatives(query, pool, query_labels, pool_labels, options.negatives)
        mining.append(time.perf_counter() - started)
    return statistics.median(bare), statistics.median(mining)


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """Options, of the command line if none are given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--pool", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=2_048)
    parser.add_argument("--clusters", type=int, default=700)
    parser.add_argument("--negatives", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args(words)


def main() -> None:
    bare, mining = measure(parsed())
    print(f"bare product  {bare:6.2f} s")
    print(f"mining        {mining:6.2f} s, the product included")


if __name__ == "__main__":
    main()
