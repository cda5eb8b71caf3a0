"""Failures as the parent and the caller of a run see them."""

import asyncio
import os
import signal

import flyte
import flyte.errors
import kit

env = flyte.TaskEnvironment(name="sdk-failures")
small = flyte.TaskEnvironment(name="sdk-failures-small", resources=flyte.Resources(memory="300Mi"))
parents = flyte.TaskEnvironment(name="sdk-failures-parents", depends_on=[env, small])


class Invoice(Exception):
    """A class of the user's own, with more than a message."""

    def __init__(self, number: int, words: str):
        super().__init__(f"invoice {number}: {words}")
        self.number = number


@small.task
async def fill(mebibytes: int) -> int:
    block = bytearray(b"x") * (mebibytes * 1024 * 1024)
    await asyncio.sleep(3)
    return len(block)


@env.task
async def charge(number: int) -> int:
    raise Invoice(number, "übérzogen 💸\nsecond line")


@env.task
async def coded() -> None:
    raise flyte.errors.RuntimeUserError("MY_CODE", "a code of my own")


@env.task
async def platform() -> None:
    raise flyte.errors.RuntimeSystemError("BadDisk", "the disk broke")


@env.task(retries=0)
async def killed() -> None:
    print("just before", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


@env.task
async def silent() -> None:
    os._exit(0)


@env.task
async def long_words(size: int) -> None:
    raise ValueError("x" * size + "the end")


@env.task(timeout=flyte.Timeout(max_runtime=2))
async def slow() -> None:
    await asyncio.sleep(60)


@env.task
async def chained() -> None:
    try:
        raise KeyError("inner")
    except KeyError as inner:
        raise ValueError("outer") from inner


@parents.task
async def gather() -> dict[str, str]:
    calls = {
        "oom": fill(600),
        "invoice": charge(7),
        "coded": coded(),
        "killed": killed(),
        "silent": silent(),
        "slow": slow(),
        "chained": chained(),
        "good": fill(1),
    }
    answers = await asyncio.gather(*calls.values(), return_exceptions=True)
    return {
        name: f"{type(answer).__name__} {getattr(answer, 'code', '')} {answer}" if isinstance(answer, Exception) else "fine"
        for name, answer in zip(calls, answers)
    }


@parents.task
async def more_memory() -> list[str]:
    seen = []
    for memory in ("300Mi", "1500Mi"):
        try:
            seen.append(str(await fill.override(resources=flyte.Resources(memory=memory))(600)))
        except flyte.errors.OOMError:
            seen.append("out of memory")
    return seen


@env.task
async def traced() -> list[str]:
    out = []
    for n in range(4):
        try:
            out.append(str(await fragile(n)))
        except ZeroDivisionError as problem:
            out.append(f"caught {problem}")
    return out


@flyte.trace
async def fragile(n: int) -> float:
    return 6 / (n - 1)


@env.task
async def trace_fails() -> float:
    return await fragile(1)


def in_the_parent() -> None:
    seen = kit.result(gather)
    kit.true(seen["oom"].startswith("OOMError"), f"out of memory is an OOMError: {seen['oom']}")
    kit.contains(seen["invoice"], "RuntimeUserError Invoice", "a class of the user")
    kit.contains(seen["invoice"], "übérzogen 💸\nsecond line", "its message")
    kit.contains(seen["coded"], "MY_CODE", "a code of the user's own")
    kit.contains(seen["killed"], "SIGKILL", "a process that was killed")
    kit.contains(seen["killed"], "just before", "its last words")
    kit.contains(seen["silent"], "os._exit", "a process that left without a word")
    kit.true(seen["slow"].startswith("MaxRuntimeExceededError"), f"a time-out names its bound: {seen['slow']}")
    kit.contains(seen["chained"], "outer", "the outer of two exceptions")
    kit.same(seen["good"], "fine", "a sibling of failures")


def with_more_memory() -> None:
    kit.same(kit.result(more_memory), ["out of memory", str(600 * 1024 * 1024)], "first little, then enough memory")


def of_the_run() -> None:
    problem = kit.failure(charge, 3)
    kit.same((type(problem).__name__, problem.code), ("RuntimeUserError", "Invoice"), "class and code")
    kit.contains(str(problem), "invoice 3", "message")
    problem = kit.failure(platform)
    kit.same(type(problem).__name__, "RuntimeSystemError", "a failure of the platform")
    kit.contains(str(problem), "the disk broke", "its message")
    run = kit.finish(kit.start(long_words, 500_000), kit.ActionPhase.FAILED)
    message = kit.details(run).error_message
    kit.true(len(message) < 70_000, f"a long message is cut ({len(message)} characters)")
    kit.contains(message, "the end", "its end is kept")


def of_traces() -> None:
    run = kit.finish(kit.start(traced))
    kit.same(run.outputs()[0], ["-6.0", "caught division by zero", "6.0", "3.0"], "values")
    kit.same(sorted(a.phase.value for a in kit.actions(run)), ["failed", "succeeded", "succeeded", "succeeded"], "phases")
    kit.contains(str(kit.failure(trace_fails)), "division by zero", "an error of a trace that nobody catches")


if __name__ == "__main__":
    kit.program(in_the_parent, with_more_memory, of_the_run, of_traces)
