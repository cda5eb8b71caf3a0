"""A tree of tasks, traces and core-sleep leaves for the chaos specs, and a client that starts it and waits for it.

    tree.py start TASK MARKS PACE   starts a run of TASK; says `run NAME`, then as below
    tree.py wait NAME               waits for a run; says `phase PHASE` and, when it succeeded, `value VALUE`

Every task body appends `<word> <action> <attempt>` to the file MARKS when it begins and when it ends, so a spec can count how
often it was executed. PACE is how long a leaf takes, in seconds.
"""

import asyncio
import os
import pathlib
import sys
from datetime import timedelta

import flyte
import flyte.remote
from flyte.extras import Sleep

sleepers = flyte.TaskEnvironment(name="chaos-sleepers", plugin_config=Sleep())
env = flyte.TaskEnvironment(name="chaos", depends_on=[sleepers])


def mark(word: str, marks: str) -> None:
    here = flyte.ctx()
    line = f"{word} {here.action.name} {here.attempt_number + 1}\n".encode()
    file = os.open(marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, line)
    os.close(file)


@sleepers.task
async def nap(span: timedelta) -> None: ...


@flyte.trace
async def note(n: int) -> int:
    return n + 1


@env.task
async def leaf(n: int, marks: str, pace: float) -> int:
    mark("begin", marks)
    await asyncio.sleep(pace)
    mark("end", marks)
    return n * n


@env.task
async def branch(n: int, marks: str, pace: float) -> int:
    """Two leaves below each other's neighbours, five naps, one trace: n² + (n + 1)² + n + 1."""
    mark("begin", marks)
    naps = [nap(timedelta(milliseconds=200 * k + n)) for k in range(5)]
    values = await asyncio.gather(leaf(n, marks, pace), leaf(n + 1, marks, pace), note(n), *naps)
    mark("end", marks)
    return sum(value for value in values if value is not None)


@env.task
async def tree(marks: str, pace: float) -> list[int]:
    """Nine task processes, six traces, thirty core-sleep leaves: [25 + 60, 35, 85]."""
    mark("begin", marks)
    noted = [await note(n) for n in range(4)]
    naps = [nap(timedelta(milliseconds=300 * k)) for k in range(20)]
    values = await asyncio.gather(
        branch(1, marks, pace), branch(3, marks, pace), leaf(5, marks, pace), leaf(6, marks, pace), *naps
    )
    mark("end", marks)
    return [sum(noted), *(value for value in values if value is not None)]


@env.task
async def forest(marks: str, pace: float) -> int:
    """Three leaves and two branches that take PACE: what is aborted."""
    mark("begin", marks)
    values = await asyncio.gather(*(leaf(n, marks, pace) for n in range(3)), branch(1, marks, pace))
    mark("end", marks)
    return sum(values)


def main(command: str, *args: str) -> None:
    flyte.init(
        endpoint=os.environ["FLYTE_ENDPOINT"],
        insecure=True,
        project="flytesnacks",
        domain="development",
        root_dir=pathlib.Path(__file__).parent,
        image_builder="remote",
    )
    if command == "start":
        task, marks, pace = args
        run = flyte.run(globals()[task], marks=marks, pace=float(pace))
        print(f"run {run.name}", flush=True)
    else:
        run = flyte.remote.Run.get(name=args[0])
    run.wait(quiet=True)
    print(f"phase {run.phase.value}", flush=True)
    if run.phase.value == "succeeded":
        print(f"value {run.outputs()[0]}", flush=True)
    sys.stdout.flush()
    os._exit(0)  # open watches must not hold up the result


if __name__ == "__main__":
    main(*sys.argv[1:])
