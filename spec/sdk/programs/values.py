"""Values of every size and script: inline ones near the limit, texts in any language, files, folders and frames of tens of MB."""

import dataclasses
import enum
import hashlib
import pathlib
import tempfile
from datetime import datetime, timedelta, timezone

import flyte
import kit
import pandas as pd
from flyte.io import DataFrame, Dir, File

env = flyte.TaskEnvironment(name="sdk-values")
MIB = 1024 * 1024
WORDS = ["", "naïve café", "日本語テキスト", "שלום עולם", "🚀👩‍👩‍👧‍👦", "a\tb\nc\r\n", "'\"\\`$(x){{y}}", "\u202eabc\u0000def", "x" * 10_000]


class Colour(enum.Enum):
    RÖT = "rot 🟥"
    BLAU = "blau"


@dataclasses.dataclass
class Ünit:
    größe: float
    namen: dict[str, list[str]]
    data: File | None = None


@env.task
async def echo(words: list[str], table: dict[str, dict[str, int]], colour: Colour, unit: Ünit) -> tuple[list[str], dict[str, dict[str, int]], Colour, Ünit]:
    print("протокол 日本語 🚀", flush=True)
    return words, table, colour, unit


@env.task
async def pass_on(words: list[str], unit: Ünit) -> tuple[list[str], dict[str, dict[str, int]], Colour, Ünit]:
    return await echo(words, {"ключ": {"値": 1}}, Colour.RÖT, unit)


@env.task
async def times(at: datetime, span: timedelta, numbers: list[float], big: int) -> tuple[datetime, timedelta, list[float], int]:
    return at, span, numbers, big


@env.task
async def length(text: str) -> int:
    return len(text)


@env.task
async def blow(size: int) -> str:
    return "é" * (size // 2)


@env.task
async def deep_blow(size: int) -> int:
    return await length(await blow(size))


@env.task
async def make(size: int) -> tuple[File, Dir, DataFrame]:
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "großes Archiv.bin").write_bytes(bytes(range(256)) * (size // 256))
        tree = root / "tree"
        for n in range(40):
            leaf = tree / f"zweig {n % 4}" / "tief" / f"blatt-{n}.txt"
            leaf.parent.mkdir(parents=True, exist_ok=True)
            leaf.write_text(str(n) * 20_000)
        frame = pd.DataFrame({"n": range(size // 40), "name": [f"naïve {n}" for n in range(size // 40)]})
        return await File.from_local(str(root / "großes Archiv.bin")), await Dir.from_local(str(tree)), DataFrame.from_df(frame)


@env.task
async def weigh(file: File, tree: Dir, frame: DataFrame) -> list[str]:
    path = pathlib.Path(await file.download())
    folder = pathlib.Path(await tree.download())
    leaves = sorted(p for p in folder.rglob("*.txt"))
    table = await frame.open(pd.DataFrame).all()
    return [
        hashlib.sha256(path.read_bytes()).hexdigest(),
        f"{len(leaves)} {sum(leaf.stat().st_size for leaf in leaves)}",
        f"{len(table)} {int(table['n'].sum())} {table['name'].iloc[-1]}",
    ]


@env.task
async def heavy(size: int) -> list[str]:
    return await weigh(*await make(size))


@env.task
async def swallow(data: File) -> str:
    async with data.open("rb") as source:
        return hashlib.sha256(bytes(await source.read())).hexdigest()


def in_any_script() -> None:
    words = [word for word in WORDS if "\u0000" not in word]
    unit = Ünit(1.5, {"größe": ["ä", "ö"]})
    options = {"labels": {"team": "q-1"}, "env_vars": {"ÜMLAUT": "ja 🚀"}}
    got = kit.result(pass_on, words, unit, options=options)
    kit.same(got[0], words, "texts")
    kit.same(got[1], {"ключ": {"値": 1}}, "nested dicts")
    kit.true("R" in str(got[2]), f"enum {got[2]}")
    kit.same((got[3].größe, got[3].namen), (1.5, {"größe": ["ä", "ö"]}), "fields of a dataclass")


def numbers_and_times() -> None:
    at = datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=timezone.utc)
    values = (at, timedelta(days=-1, microseconds=1), [1e308, -0.0, 1e-300, 0.1], 2**62)
    kit.same(kit.result(times, *values), values, "extremes")


def near_the_inline_limit() -> None:
    kit.same(kit.result(length, "é" * (5 * MIB - 1000)), 5 * MIB - 1000, "an input of just below ten mebibytes")
    kit.same(kit.result(deep_blow, 10 * MIB - 2000), 5 * MIB - 1000, "and between tasks")


def tens_of_megabytes() -> None:
    size = 40 * MIB
    digest = hashlib.sha256(bytes(range(256)) * (size // 256)).hexdigest()
    rows = size // 40
    frame = f"{rows} {rows * (rows - 1) // 2} naïve {rows - 1}"
    leaves = f"40 {sum(len(str(n)) for n in range(40)) * 20_000}"
    kit.same(kit.result(heavy, size), [digest, leaves, frame], "what came through")


def a_file_of_the_client() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "mein Bild (1) 100%20 ü+&=.bin"
        path.write_bytes(b"y" * (12 * MIB))
        data = File.from_local_sync(str(path))
        kit.same(kit.result(swallow, data), hashlib.sha256(path.read_bytes()).hexdigest(), "its digest in the task")


if __name__ == "__main__":
    kit.program(in_any_script, numbers_and_times, near_the_inline_limit, tens_of_megabytes, a_file_of_the_client)
