"""Tasks of warm-start.spec.ts. As a program: writes their bundle, a pickled task and the inputs to a directory."""

import logging
import os
import sys

import flyte
import flyte.io

env = flyte.TaskEnvironment(name="warm_start")


@env.task
async def well(x: int) -> int:
    print("x is", x)
    return x + 1


@env.task
def synchronous(x: int) -> str:
    return f"{x} in {os.path.basename(os.getcwd())}"


def inner(x: int) -> int:
    raise ValueError(f"no {x}")


@env.task
async def fails(x: int) -> int:
    return inner(x)


@env.task
async def exits(x: int) -> int:
    sys.exit(3)


@env.task
async def leaves(x: int) -> int:
    os._exit(4)


@env.task
async def crashes(x: int) -> int:
    import ctypes

    return ctypes.string_at(0)


@env.task
async def is_terminated(x: int) -> int:
    import asyncio
    import signal

    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(60)
    return x


@env.task
async def sees(x: int) -> str:
    import threading

    print(sys.path, sys.argv[:3], sys.orig_argv[:2], sys.executable, sys.flags, sys.excepthook)
    print(sorted((k, str(v)) for k, v in vars(sys.modules["__main__"]).items() if k != "__loader__"), __name__, __file__)
    print(sorted((k, v) for k, v in os.environ.items() if k != "_"))
    # How many workers asyncio needs is a matter of moments, so they count once.
    print(sorted({thread.name.rstrip("_0123456789") for thread in threading.enumerate()}))
    ctx = flyte.ctx()
    print(ctx.action, ctx.run_start_time)
    return "seen"


@env.task
async def logs(x: int) -> int:
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        flyte.logger.log(level, "of the user %d", level)
        logging.getLogger("library").log(level, "of a library %d", level)
    for name in ("", "flyte", "flyte.user"):
        logger = logging.getLogger(name)
        print(name, logger.level, logger.propagate, [(type(h).__name__, h.level, type(h.formatter).__name__) for h in logger.handlers])
    return x


@env.task
async def stores(x: int) -> str:
    with open("hello.txt", "w") as file:
        file.write("hello" * 1000)
    stored = await flyte.io.File.from_local("hello.txt")
    async with stored.open("rb") as file:
        return bytes(await file.read()).decode()[:5]


@env.task
def starts_processes(x: int) -> str:
    import multiprocessing
    import operator
    import subprocess

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        doubled = pool.apply(operator.mul, (x, 2))
    printed = subprocess.run([sys.executable, "-c", "import flyte; print(flyte.__version__)"], stdout=-1, text=True).stdout
    return f"{doubled} {printed == flyte.__version__ + chr(10)}"


def make(directory: str) -> None:
    import gzip
    import tarfile

    import cloudpickle
    from flyteidl2.core import literals_pb2
    from flyteidl2.task import common_pb2

    @env.task
    async def pickled(x: int) -> str:
        return f"{x} {__name__} {well.name}"

    value = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=41)))
    inputs = common_pb2.Inputs(literals=[common_pb2.NamedLiteral(name="x", value=value)])
    with open(os.path.join(directory, "inputs.pb"), "wb") as file:
        file.write(inputs.SerializeToString())
    with tarfile.open(os.path.join(directory, "code.tar.gz"), "w:gz") as archive:
        archive.add(__file__, "warm_start_tasks.py")
    with gzip.open(os.path.join(directory, "code.pkl.gz"), "wb") as file:
        cloudpickle.dump(pickled, file)


if __name__ == "__main__":
    make(sys.argv[1])
