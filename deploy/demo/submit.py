"""Submits hello.py the way any user would, and tells run.ts about it in lines of JSON."""

import json
import sys
from pathlib import Path

import flyte
import hello

endpoint, project, domain = sys.argv[1:]
flyte.init(
    endpoint=endpoint,
    insecure=True,
    project=project,
    domain=domain,
    root_dir=Path(__file__).parent,
    image_builder="remote",
)
run = flyte.run(hello.main)
print(json.dumps({"run": run.name}), flush=True)
run.wait(quiet=True)
run.raise_for_status()
print(json.dumps({"output": run.outputs()[0]}), flush=True)
