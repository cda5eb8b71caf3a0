"""Many children: two hundred of all sorts at once, maps in maps, a map that is left early, large lists."""

import asyncio
import time
from datetime import timedelta

import flyte
import flyte.errors
import kit
from flyte.extras import Sleep

sleepers = flyte.TaskEnvironment(name="sdk-many-sleepers", plugin_config=Sleep())
leaves = flyte.TaskEnvironment(name="sdk-many-leaves")
env = flyte.TaskEnvironment(name="sdk-many", depends_on=[sleepers, leaves])


@sleepers.task
async def nap(span: timedelta) -> None: ...


@flyte.trace
async def note(n: int) -> int:
    return n


@leaves.task
async def square(n: int) -> int:
    if n < 0:
        raise ValueError(f"{n} is negative")
    return n * n


@env.task
async def two_hundred() -> list[str]:
    """150 naps, 38 traces, 10 processes that end well and 2 that do not."""
    naps = [nap(timedelta(milliseconds=n)) for n in range(150)]
    notes = [note(n) for n in range(38)]
    squares = [square(n) for n in range(-2, 10)]
    answers = await asyncio.gather(*naps, *notes, *squares, return_exceptions=True)
    return [type(answer).__name__ if isinstance(answer, Exception) else str(answer) for answer in answers]


@env.task
async def row(y: int, width: int) -> list[int]:
    return [value async for value in flyte.map.aio(square, [10 * y + x for x in range(width)])]


@env.task
async def table(height: int, width: int) -> list[list[int]]:
    return [value async for value in flyte.map.aio(row, range(height), [width] * height)]


@leaves.task
async def hold(n: int) -> int:
    if n == 0:
        raise ValueError("zero")
    await asyncio.sleep(300)
    return n


@env.task
async def left_early() -> str:
    try:
        async for _ in flyte.map.aio(hold, range(12), return_exceptions=False):
            pass
    except flyte.errors.RuntimeUserError as problem:
        return problem.code
    return "nothing happened"


@env.task
async def broken_off() -> int:
    async for _ in flyte.map.aio(nap, [timedelta(seconds=0.1)] + [timedelta(seconds=500 + n) for n in range(100)]):
        break
    return 1


@leaves.task
async def long_list(size: int) -> list[int]:
    return list(range(size))


@leaves.task
async def total(numbers: list[int]) -> int:
    return sum(numbers)


@env.task
async def long_lists() -> int:
    return await total(await long_list(30_000))


@env.task
async def same_call() -> list[int]:
    return list(await asyncio.gather(*(square(3) for _ in range(6))))


def mixed() -> None:
    run = kit.finish(kit.start(two_hundred))
    want = ["None"] * 150 + [str(n) for n in range(38)] + ["RuntimeUserError"] * 2 + [str(n * n) for n in range(10)]
    kit.same(run.outputs()[0], want, "answers in order")
    kit.same(len(kit.actions(run)), 200, "actions")
    kit.same(len(kit.actions(run, in_phase=("failed",))), 2, "failed ones")


def nested_maps() -> None:
    kit.same(kit.result(table, 3, 3), [[(10 * y + x) ** 2 for x in range(3)] for y in range(3)], "a map of maps")


def a_map_left_early() -> None:
    begin = time.monotonic()
    run = kit.finish(kit.start(left_early))
    kit.same(run.outputs()[0], "ValueError", "the error that ended it")
    kit.true(time.monotonic() - begin < 60, "leaving does not wait for those that hold")
    phases = [a.phase.value for a in kit.actions(run)]
    kit.same((phases.count("failed"), phases.count("aborted")), (1, 11), "phases of twelve")


def a_map_broken_off() -> None:
    begin = time.monotonic()
    run = kit.finish(kit.start(broken_off))
    kit.true(time.monotonic() - begin < 40, "breaking off does not wait either")
    phases = [a.phase.value for a in kit.actions(run)]
    kit.same((phases.count("succeeded"), phases.count("aborted")), (1, 100), "phases of 101")


def large_lists() -> None:
    kit.same(kit.result(long_lists), sum(range(30_000)), "a list of thirty thousand")


def the_same_call_often() -> None:
    run = kit.finish(kit.start(same_call))
    kit.same(run.outputs()[0], [9] * 6, "values")
    kit.same(len({a.name for a in kit.actions(run)}), 6, "names of six equal calls")


if __name__ == "__main__":
    kit.program(mixed, nested_maps, a_map_left_early, a_map_broken_off, large_lists, the_same_call_often)
