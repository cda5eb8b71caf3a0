"""A first workflow: estimate pi by throwing darts, a few samplers at once.

Every call of a task below is an action of its own, in a process of its own, with its inputs, outputs, log and retries.

    flyte run deploy/demo/hello.py main --samplers 8
"""

import asyncio
import random

import flyte

env = flyte.TaskEnvironment(name="hello")


@env.task
async def throw_darts(seed: int, darts: int) -> int:
    """Count the darts that land inside the quarter circle."""
    dice = random.Random(seed)
    hits = sum(dice.random() ** 2 + dice.random() ** 2 <= 1 for _ in range(darts))
    print(f"sampler {seed}: {hits} of {darts} darts inside")
    return hits


@env.task
async def estimate(hits: list[int], darts: int) -> float:
    """Turn the counts into an estimate of pi."""
    return round(4 * sum(hits) / (darts * len(hits)), 4)


@env.task
async def main(samplers: int = 4, darts: int = 200_000) -> float:
    """Fan out, wait for all, put together."""
    with flyte.group("samplers"):
        hits = await asyncio.gather(*(throw_darts(seed, darts) for seed in range(samplers)))
    return await estimate(list(hits), darts)
