"""Times the two ways to solve the cost programme, and the import of scipy that one of them needs.

python benchmarks/cost_programme.py
"""

import time

import numpy as np

from perfopt_cost.programme import Programme, solve

REPEATS = 20


def example(sizes: int = 40, places: int = 4, periods: int = 4) -> Programme:
    """Returns a programme as large as that of a service of some ten replicas on a small price book."""
    random = np.random.default_rng(1)
    prices = random.uniform(1, 2, (sizes, places))
    return Programme(
        hours=np.full(periods, 168.0 / periods),
        least=random.integers(2, 10, (periods, sizes)).astype(float),
        demand_price=prices,
        spot_price=prices * 0.4,
        most=10,
        spot_share=0.5,
        steady=1,
    )


def main() -> None:
    """Prints CPU milliseconds."""
    begin = time.process_time()
    import perfopt_cost.highs  # noqa: F401  what is timed

    print(f"importing scipy: {1000 * (time.process_time() - begin):.0f} ms")
    programme = example()
    for name, most in (("HiGHS", 0), ("enumeration", programme.demand_price.size)):
        begin = time.process_time()
        for _ in range(REPEATS):
            found = solve(programme, enumerated_most=most)
        milliseconds = 1000 * (time.process_time() - begin) / REPEATS
        assert found is not None
        print(f"{name}: {milliseconds:.2f} ms, cost {found.cost:.3f}, gap {found.gap:.2%}")


if __name__ == "__main__":
    main()
