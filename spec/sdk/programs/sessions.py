"""What sessions do: pickled tasks, contexts, overrides, reports, checkpoints, names, local runs, two processes at once."""

import asyncio
import os
import pathlib
import sys
import tempfile

import flyte
import flyte.errors
import flyte.remote
import flyte.report
import kit

env = flyte.TaskEnvironment(name="sdk-sessions", env_vars={"PLACE": "home", "BOTH": "task"})
FACTOR = int(os.environ.get("SESSION_FACTOR", "3"))


@env.task
async def look() -> dict[str, str]:
    return {**flyte.get_custom_context(), **{key: os.environ.get(key, "-") for key in ("PLACE", "BOTH", "EXTRA")}}


@env.task
async def main() -> list[dict[str, str]]:
    with flyte.custom_context(inner="ja"):
        return [await look(), await look.override(env_vars={"PLACE": "away", "EXTRA": "x"}, resources=flyte.Resources(cpu=1, memory="500Mi"))()]


@env.task
async def scaled(n: int) -> int:
    return n * FACTOR


@env.task
async def scale_all(numbers: list[int]) -> list[int]:
    return list(await asyncio.gather(*(scaled(n) for n in numbers)))


@env.task(report=True)
async def reporting(rows: int) -> None:
    for n in range(3):
        await flyte.report.replace.aio(f"<p>stage {n}</p>", do_flush=True)
    flyte.report.get_tab("Tabelle ü").log("".join(f"<tr><td>{n}</td></tr>" for n in range(rows)))
    await flyte.report.flush.aio()


@env.task(retries=3)
def resumed(limit: int) -> list[int]:
    store = flyte.ctx().checkpoint
    saved = store.load_sync()
    done = [int(n) for n in saved.read_text().split()] if saved else []
    while len(done) < limit:
        done.append(flyte.ctx().attempt_number)
        store.save_sync(" ".join(map(str, done)).encode())
        if len(done) % 2 == 0 and len(done) < limit:
            os._exit(7)  # no exception, no clean-up: as a crash
    return done


def context_and_overrides() -> None:
    options = {"custom_context": {"outer": "🌍"}, "env_vars": {"BOTH": "run", "EXTRA": "run"}}
    plain, moved = kit.result(main, options=options)
    kit.same({key: plain.get(key) for key in ("outer", "inner", "PLACE")}, {"outer": "🌍", "inner": "ja", "PLACE": "home"}, "context")
    kit.same(plain["EXTRA"], "run", "a variable of the run")
    kit.same(moved["PLACE"], "away", "a variable of the call")


def pickled() -> None:
    """A function of an interactive session: there is no file, so the code itself travels."""
    secret = kit.unique("closure")

    @env.task
    async def closure(n: int) -> str:
        return f"{secret} {n + FACTOR}"

    kit.same(kit.result(closure, 4, options={"interactive_mode": True}), f"{secret} 7", "a closure")
    kit.same(kit.result(scale_all, [1, 2], options={"interactive_mode": True}), [3, 6], "and its children")


def reports() -> None:
    run = kit.finish(kit.start(reporting, 20_000))
    page = run.get_report()
    kit.contains(page, "stage 2", "the last stage")
    kit.contains(page, "<td>19999</td>", "a large table")
    kit.contains(page, "Tabelle ü", "its tab")
    kit.true("stage 0" not in page, "replaced stages are gone")


def checkpoints_after_crashes() -> None:
    kit.same(kit.result(resumed, 5), [0, 0, 1, 1, 2], "the attempt of each step")


def names() -> None:
    runs = [kit.start(scaled, n) for n in range(3)]
    kit.same(len({run.name for run in runs}), 3, "generated names differ")
    for run in runs:
        kit.finish(run)
    taken = runs[0].name
    try:
        kit.start(scaled, 9, options={"name": taken})
    except Exception as problem:
        kit.contains(str(problem).lower(), "already", "a name that is taken")
    else:
        raise AssertionError("a name that is taken was given twice")
    kit.same(flyte.remote.Run.get(taken).outputs()[0], 0, "the first run is left alone")


def local_first() -> None:
    """The same program without a server, then with one."""
    local = flyte.with_runcontext(mode="local").run(scale_all, [5])
    kit.same(local.outputs()[0], [15], "locally")
    kit.same(kit.result(scale_all, [5]), [15], "remotely")


async def _many_runs() -> list[int]:
    runs = await asyncio.gather(*(flyte.with_runcontext(mode="remote").run.aio(scaled, n) for n in range(12)))
    await asyncio.gather(*(run.wait.aio(quiet=True) for run in runs))
    return [(await run.outputs.aio())[0] for run in runs]


def many_runs_of_one_process() -> None:
    kit.same(asyncio.run(_many_runs()), [3 * n for n in range(12)], "values of twelve runs started at once")


def other_code_next_day() -> None:
    """The same module with another body is another bundle: nothing stale is run."""
    for value in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "fresh.py").write_text(
                f"import flyte\n\nenv = flyte.TaskEnvironment(name='sdk-fresh')\n\n@env.task\nasync def main() -> int:\n    return {value}\n"
            )
            name = kit.unique("sdk-fresh")
            kit.cli("run", *kit.SCOPE, "--name", name, "--follow", "fresh.py", "main", cwd=pathlib.Path(folder))
            kit.same(flyte.remote.Run.get(name).outputs()[0], value, "value of the code as it is now")


if __name__ == "__main__":
    kit.program(
        context_and_overrides, pickled, reports, checkpoints_after_crashes, names, local_first, many_runs_of_one_process, other_code_next_day
    )
