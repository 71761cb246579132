"""The lab's command line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import demo, images, labs, models, vllm_env
from lab.errors import LabError
from lab.host import Host
from lab.nodes import full_name
from lab.paths import STATE
from lab.progress import Progress

ASSETS = ("images", "vllm", "tiny", "smollm2", "llava")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. An error a user can mend is printed without a traceback."""
    options = _parser().parse_args(argv)
    # A terminated run ends like an interrupted one: programs it started are ended with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(options.run(options) or 0)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; the same command again goes on from here", file=sys.stderr, flush=True)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description="A lab of real systemd nodes on this machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="bring a lab up, reusing what is there")
    up.add_argument("spec", type=Path, metavar="SPEC", help="the lab's YAML file")
    up.set_defaults(run=_up)

    down = commands.add_parser("down", help="remove a lab")
    which = down.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?", metavar="NAME")
    which.add_argument("--all", action="store_true", help="every lab of this checkout")
    down.set_defaults(run=_down)

    commands.add_parser("list", help="show the labs of this machine").set_defaults(run=_list)

    execute = commands.add_parser("exec", help="run a command in a node: lab exec NAME NODE -- COMMAND")
    execute.add_argument("name", metavar="NAME")
    execute.add_argument("node", metavar="NODE")
    execute.add_argument("command", nargs="+", metavar="COMMAND")
    execute.set_defaults(run=_exec)

    restart = commands.add_parser("restart", help="reboot a node and wait for its SSH")
    restart.add_argument("name", metavar="NAME")
    restart.add_argument("node", metavar="NODE")
    restart.set_defaults(run=_restart)

    assets = commands.add_parser("assets", help="build what labs share: " + ", ".join(ASSETS))
    assets.add_argument(
        "which", nargs="*", choices=[*ASSETS, []], metavar="ASSET", help="all of them when none is named"
    )
    assets.set_defaults(run=_assets)

    commands.add_parser("demo", help="the demo, see 'make demo'").set_defaults(run=lambda _: demo.up())
    commands.add_parser("demo-down", help="remove every trace of this checkout's labs").set_defaults(
        run=lambda _: demo.down()
    )
    commands.add_parser("disk", help="show the disk the labs use").set_defaults(run=_disk)
    return parser


def _up(options: argparse.Namespace) -> None:
    progress = Progress()
    inventory = labs.up(options.spec, progress)
    progress.say(f"the lab is up; inventory: {inventory}")


def _down(options: argparse.Namespace) -> None:
    names = labs.own_names(Host()) if options.all else [options.name]
    progress = Progress()
    for name in names:
        labs.down(name, progress)


def _list(_: argparse.Namespace) -> None:
    found = labs.listing(Host())
    for state in found:
        print(f"{state.name}  ({state.checkout})")
        for node, condition in sorted(state.nodes.items()):
            print(f"  {node:<20} {condition}")
    if not found:
        print("no lab is up")


def _exec(options: argparse.Namespace) -> None:
    labs.saved(options.name).node(options.node)
    terminal = ["--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    argv = [*Host().prefix, "podman", "exec", "--interactive", *terminal, full_name(options.name, options.node)]
    os.execvp(argv[0], [*argv, *options.command])  # noqa: S606 - the command takes this process's place and terminal


def _restart(options: argparse.Namespace) -> None:
    labs.restart(options.name, options.node, Progress())


def _assets(options: argparse.Namespace) -> None:
    progress = Progress()
    for name in options.which or ASSETS:
        if name == "images":
            host = Host()
            for suite in images.PACKAGES:
                progress.say(f"image {images.ensure(host, suite, progress)}")
        elif name == "vllm":
            progress.say(f"vLLM environment: {vllm_env.ensure(progress)}")
        else:
            progress.say(f"model {name}: {models.ensure(name, progress)}")


def _disk(_: argparse.Namespace) -> None:
    for name, size in labs.disk_use(Host()):
        print(f"{size / 1e9:8.2f} GB  {name}")
    print(f"Files of the checkout's labs are in {STATE}, the rest is in podman's storage.")
