"""What the programs of this folder share: a connection to FLYTE_ENDPOINT, finished runs, the command line, checks with words."""

import os
import pathlib
import re
import subprocess
import sys
import time
import uuid
from typing import Any, Callable

import flyte
import flyte.remote
from flyte.models import ActionPhase

HERE = pathlib.Path(__file__).parent
ENDPOINT = os.environ.get("FLYTE_ENDPOINT", "localhost:8090")
PROJECT, DOMAIN = "flytesnacks", "development"
SCOPE = ["--project", PROJECT, "--domain", DOMAIN]


def program(*checks: Callable[[], None]) -> None:
    """Runs the checks in order, or those named on the command line."""
    flyte.init(endpoint=ENDPOINT, insecure=True, project=PROJECT, domain=DOMAIN, root_dir=HERE, image_builder="remote")
    wanted = sys.argv[1:]
    for check in checks:
        if wanted and check.__name__ not in wanted:
            continue
        begin = time.monotonic()
        check()
        print(f"ok {check.__name__} {time.monotonic() - begin:.1f} s", flush=True)
    sys.stdout.flush()
    os._exit(0)  # open watches must not hold up the result


def start(task: Any, *args: Any, options: dict[str, Any] | None = None, **inputs: Any) -> Any:
    return flyte.with_runcontext(mode="remote", **(options or {})).run(task, *args, **inputs)


def finish(run: Any, phase: ActionPhase = ActionPhase.SUCCEEDED) -> Any:
    run.wait(quiet=True)
    if run.phase != phase:
        raise AssertionError(f"run {run.name} ended {run.phase.value}, expected {phase.value}: {details(run).error_message}")
    return run


def result(task: Any, *args: Any, options: dict[str, Any] | None = None, **inputs: Any) -> Any:
    values = tuple(finish(start(task, *args, options=options, **inputs)).outputs())
    return values[0] if len(values) == 1 else values


def failure(task: Any, *args: Any, phase: ActionPhase = ActionPhase.FAILED, **inputs: Any) -> Exception:
    """The exception that the run of a failing task is for its caller."""
    run = finish(start(task, *args, **inputs), phase)
    try:
        run.raise_for_status()
    except Exception as problem:
        return problem
    raise AssertionError("raise_for_status raised nothing")


def actions(run: Any, **filters: Any) -> list[Any]:
    return [a for a in flyte.remote.Action.listall(for_run_name=run.name, **filters) if a.name != "a0"]


def details(of: Any, name: str = "a0") -> Any:
    return flyte.remote.ActionDetails.get(run_name=getattr(of, "run_name", of.name), name=name)


def cli(*words: str, code: int | None = 0, cwd: pathlib.Path = HERE, env: dict[str, str] | None = None, program: str = "") -> str:
    """What a `flyte` command prints, without colours."""
    flyte_program = program or str(pathlib.Path(sys.executable).parent / "flyte")
    command = [flyte_program, "--no-progress", "--endpoint", ENDPOINT, "--insecure", *words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240, env={**os.environ, "COLUMNS": "240", **(env or {})})
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    if code is not None and done.returncode != code:
        raise AssertionError(f"flyte {' '.join(words)} ended {done.returncode}:\n{text}")
    return text


def same(got: Any, want: Any, what: str) -> None:
    if got != want:
        raise AssertionError(f"{what}: got {_short(got)}, expected {_short(want)}")


def true(fact: Any, what: str) -> None:
    if not fact:
        raise AssertionError(f"{what} does not hold")


def contains(text: str, part: str, what: str) -> None:
    if part not in text:
        raise AssertionError(f"{what}: {part!r} is not in {text[:3000]!r}")


def eventually(probe: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while not (answer := probe()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.2)
    return answer


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 400 else f"{text[:400]}… ({len(text)} characters)"
