"""The command line where a task is quiet, deployed, aborted, broken or not there; and from an active virtual environment."""

import asyncio
import os
import pathlib
import re
import sys
import tempfile
import threading
import time

import flyte
import flyte.errors
import flyte.remote
import kit

env = flyte.TaskEnvironment(name="sdk-cli")


@env.task
async def quiet(seconds: float = 40.0) -> str:
    print("before the silence", flush=True)
    await asyncio.sleep(seconds)
    print("nach der Stille 🚀", flush=True)
    return "done"


@env.task
async def talk(lines: int) -> int:
    for n in range(lines):
        print(f"line {n}", flush=True)
    return lines


@env.task
async def child(n: int) -> int:
    return n + int(os.environ.get("PLUS", "0"))


@env.task
async def main(n: int = 1) -> int:
    return await child(n)


@env.task
async def forever() -> None:
    await asyncio.sleep(600)


def follow_through_silence() -> None:
    """The SDK gives up on a log that sends nothing for 30 s (sdk-2.12 §1): both commands must survive 40."""
    followed, read = [], []
    name = kit.unique("sdk-quiet")

    def follow() -> None:
        followed.append(kit.cli("run", *kit.SCOPE, "--name", name, "--follow", "command_line.py", "quiet"))

    def logs() -> None:
        kit.eventually(lambda: exists(name), "the run is there", 60)
        kit.eventually(lambda: flyte.remote.Run.get(name).phase.value == "running", "it runs", 60)
        read.append(kit.cli("get", "logs", *kit.SCOPE, name))

    threads = [threading.Thread(target=follow), threading.Thread(target=logs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for text, what in ((followed, "run --follow"), (read, "get logs")):
        kit.true(text, f"{what} ended well")
        kit.contains(text[0], "before the silence", what)
        kit.contains(text[0], "nach der Stille 🚀", what)


def exists(name: str) -> bool:
    try:
        flyte.remote.Run.get(name)
        return True
    except Exception:
        return False


def long_logs() -> None:
    name = kit.unique("sdk-talk")
    # Following shows the last thirty lines.
    text = kit.cli("run", *kit.SCOPE, "--name", name, "--follow", "command_line.py", "talk", "--lines", "3000")
    kit.contains(text, "line 2999", "the end of the log")
    text = kit.cli("get", "logs", *kit.SCOPE, name)
    kit.same(re.findall(r"line (\d+)\b", text), [str(n) for n in range(3000)], "each line once and in order")


def deployed() -> None:
    version = kit.unique("v")
    kit.cli("deploy", *kit.SCOPE, "--version", version, "command_line.py", "env")
    kit.cli("deploy", *kit.SCOPE, "--version", version, "command_line.py", "env")
    name = kit.unique("sdk-deployed")
    kit.cli("run", "--run-project", kit.PROJECT, "--run-domain", kit.DOMAIN, *kit.SCOPE, "--name", name, "--env", "PLUS=100", "--follow", "deployed-task", f"sdk-cli.main:{version}", "--n", "5")
    kit.same(flyte.remote.Run.get(name).outputs()[0], 105, "the value, with the variable of the run in the child")
    text = kit.cli("run", "--run-project", kit.PROJECT, "--run-domain", kit.DOMAIN, *kit.SCOPE, "deployed-task", "sdk-cli.nobody", code=None)
    kit.contains(text, "No versions found", "a task nobody deployed")
    again = kit.cli("rerun", *kit.SCOPE, "--follow", name)
    kit.true(re.search("succeeded|completed", again.lower()), "a rerun of it")
    kit.contains(kit.cli("get", "task", *kit.SCOPE, "sdk-cli.main"), version, "the list of its versions")


def abort() -> None:
    name = kit.unique("sdk-abort")
    kit.cli("run", *kit.SCOPE, "--name", name, "command_line.py", "forever")
    kit.cli("abort", "run", *kit.SCOPE, name, "--reason", "genug für heute")
    run = flyte.remote.Run.get(name)
    kit.eventually(lambda: flyte.remote.Run.get(name).phase == kit.ActionPhase.ABORTED, "it is aborted")
    kit.contains(str(kit.details(run).abort_info), "genug f", "the reason")
    kit.cli("abort", "run", *kit.SCOPE, name, "--reason", "again")
    text = kit.cli("abort", "run", *kit.SCOPE, kit.unique("none"), code=None)
    kit.contains(text.lower(), "not found", "aborting what is not there")


def import_error() -> None:
    """A module that loads on the workstation and not in the pod: the traceback is in the error."""
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "fragile.py"
        program.write_text(
            "import os\nimport flyte\n\nenv = flyte.TaskEnvironment(name='sdk-fragile')\n\n"
            "if os.environ.get('RUN_NAME'):\n    import there_is_no_such_module\n\n"
            "@env.task\nasync def main() -> int:\n    return 1\n"
        )
        name = kit.unique("sdk-import")
        kit.cli("run", *kit.SCOPE, "--name", name, "fragile.py", "main", cwd=pathlib.Path(folder))
    run = flyte.remote.Run.get(name)
    run.wait(quiet=True)
    message = kit.details(run).error_message
    kit.same(run.phase.value, "failed", "phase")
    kit.contains(message, "there_is_no_such_module", "the missing module")
    kit.contains(message, "Traceback", "the traceback")
    kit.contains(message, "fragile.py", "its file")
    shown = kit.cli("get", "run", *kit.SCOPE, name) + kit.cli("get", "action", *kit.SCOPE, name, "a0")
    kit.contains(shown, "there_is_no_such_module", "the command line shows it")


def nonsense() -> None:
    for words, part in (
        (["run", *kit.SCOPE, "--name", "Not_Allowed", "command_line.py", "main"], "lower-case"),
        (["run", "--project", "atlantis", "--domain", kit.DOMAIN, "command_line.py", "main"], "atlantis"),
        (["get", "logs", *kit.SCOPE, kit.unique("none")], "not found"),
        (["get", "io", *kit.SCOPE, kit.unique("none")], "not found"),
    ):
        text = kit.cli(*words, code=None)
        kit.true(part.lower() in text.lower(), f"{part!r} in the answer to {' '.join(words)}: {text[-800:]}")
        kit.true("Traceback (most recent call last)" not in text, f"no traceback: {text[-800:]}")


def from_an_active_environment() -> None:
    """As a user with an activated venv: `flyte` on the PATH, VIRTUAL_ENV set, no flags of ours but the endpoint."""
    home = pathlib.Path(sys.prefix)
    path = {"VIRTUAL_ENV": str(home), "PATH": f"{home / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": "/nowhere"}
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "hello.py").write_text(
            "import flyte\n\nenv = flyte.TaskEnvironment(name='sdk-venv')\n\n@env.task\ndef main(name: str) -> str:\n    return f'hello {name}'\n"
        )
        kit.cli("create", "config", "--endpoint", kit.ENDPOINT, "--insecure", *kit.SCOPE, "--builder", "remote", "--output", f"{folder}/config.yaml", "--force", env=path, program="flyte")
        text = kit.cli("--config", f"{folder}/config.yaml", "run", "--follow", "hello.py", "main", "--name", "Zoë", cwd=pathlib.Path(folder), env=path, program="flyte")
        kit.true("succeeded" in text.lower() or "completed" in text.lower(), f"it ran: {text[-500:]}")


if __name__ == "__main__":
    kit.program(follow_through_silence, long_logs, deployed, abort, import_error, nonsense, from_an_active_environment)
