"""Raw containers of the SDK: on the process runtime their image stands for this machine, and the co-pilot brings files in and out."""

import flyte
import flyte.errors
import kit
from flyte.extras import ContainerTask
from flyte.io import File

count = ContainerTask(
    name="count",
    image="busybox:1",
    inputs={"word": str, "times": int, "data": File},
    outputs={"length": int, "text": str, "copy": File, "ratio": float, "good": bool},
    command=["/bin/sh", "-c"],
    arguments=[
        "cd /var/inputs && printf %s $(( $(cat word | wc -c) * $(cat times) )) > /var/outputs/length"
        " && tr a-z A-Z < word > /var/outputs/text && cat data data > /var/outputs/copy"
        " && printf 0.5 > /var/outputs/ratio && printf true > /var/outputs/good"
    ],
)
templated = ContainerTask(
    name="templated",
    image="busybox:1",
    inputs={"word": str},
    outputs={"said": str},
    command=["/bin/sh", "-c", "printf '%s' \"{{.inputs.word}} and more\" > /var/outputs/said"],
)
fail = ContainerTask(name="fail", image="busybox:1", command=["/bin/sh", "-c"], arguments=["echo going down >&2; exit 4"])
forgets = ContainerTask(name="forgets", image="busybox:1", outputs={"answer": int}, command=["true"])
lies = ContainerTask(name="lies", image="busybox:1", outputs={"answer": int}, command=["/bin/sh", "-c", "printf many > /var/outputs/answer"])
missing = ContainerTask(name="missing", image="busybox:1", command=["no-such-program"])
raw = flyte.TaskEnvironment.from_task("sdk-raw", count, templated, fail, forgets, lies, missing)
env = flyte.TaskEnvironment(name="sdk-raw-root", depends_on=[raw])


@env.task
async def main(word: str, size: int) -> tuple[int, str, int, float, bool, str]:
    given = File.new_remote()
    async with given.open("wb") as out:
        await out.write(b"x" * size)
    length, text, copy, ratio, good = await count(word=word, times=3, data=given)
    async with copy.open("rb") as body:
        return length, text, len(bytes(await body.read())), ratio, good, await templated(word=word)


@env.task
async def failing() -> dict[str, str]:
    seen = {}
    for task in (fail, forgets, lies, missing):
        try:
            await task()
        except Exception as problem:
            seen[task.name] = f"{type(problem).__name__} {problem}"
    return seen


def files_in_and_out() -> None:
    size = 20 * 1024 * 1024
    kit.same(kit.result(main, "wörd", size), (15, "WöRD", 2 * size, 0.5, True, "wörd and more"), "what came back")


def failures() -> None:
    seen = kit.result(failing)
    kit.contains(seen["fail"], "exited with code 4", "an exit code")
    kit.contains(seen["fail"], "going down", "last words")
    kit.contains(seen["forgets"], "answer", "an output that is not written")
    kit.contains(seen["lies"], "answer", "an output that is no number")
    kit.contains(seen["missing"], "no-such-program", "a command that is not there")


def by_itself() -> None:
    kit.same(kit.result(templated, word="solo"), "solo and more", "a container as the root of a run")


if __name__ == "__main__":
    kit.program(files_in_and_out, failures, by_itself)
