"""The command line of preparation. Refusals are one sentence on standard error."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from brainfm.data.paths import data_root
from brainfm.errors import ContractError, DataError
from brainfm.signals.choice import MOST
from brainfm.signals.preprocess import Recipe

NONE = ("none", "off", "0")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    from data_prep import commands

    args = build_parser().parse_args(argv)
    args.root = Path(args.data_root).expanduser() if args.data_root else data_root()
    args.store = Path(args.store).expanduser() if args.store else args.root / "store"
    try:
        code, result = getattr(commands, f"{args.command}_command")(args)
    except (DataError, ContractError) as refusal:
        sys.stderr.write(f"brainfm: {refusal}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(
            "brainfm: stopped; what was published stays, run the same command again to go on\n"
        )
        return 130
    except BrokenPipeError:
        # `data_prep list | head`: whoever read has gone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    if args.json:
        sys.stdout.write(json.dumps(result, default=str) + "\n")
    return int(code)


def build_parser() -> argparse.ArgumentParser:
    """All commands and options."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep",
        description="Bring recordings into the store that training reads.",
        epilog="example: python -m data_prep run --dataset aeon_hmd aeon_blink bsnb_s001r02",
    )
    sub = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    every = argparse.ArgumentParser(add_help=False)
    every.add_argument("--data-root", help="default: $BRAINFM_DATA, else ~/brainfm_data")
    every.add_argument("--store", help="default: store below the data root")
    every.add_argument("--json", action="store_true", help="print one JSON line last")

    sub.add_parser("list", parents=[every], help="data sets: size, licence, what is nominal")
    fetch = sub.add_parser("fetch", parents=[every], help="download, prepare nothing")
    _what(fetch)
    run = sub.add_parser("run", parents=[every], help="fetch, prepare, finalize, report")
    _what(run)
    _user(run)
    _fmri(run)
    _recipe(run)
    run.add_argument(
        "--jobs", type=_count, default=1, help="reader processes; 0: in this one (default 1)"
    )
    run.add_argument("--cluster", choices=("slurm", "local"), help="--jobs tasks by submitit")
    run.add_argument("--cluster-options", help="of submitit: slurm_partition=cpu,mem_gb=8")
    run.add_argument("--timeout", type=float, default=3600.0, help="seconds a recording may take")
    run.add_argument(
        "--max-failure-rate",
        type=_share,
        default=0.5,
        help="share of recordings that may fail before the exit code says so (default 0.5)",
    )
    run.add_argument("--no-fetch", action="store_true", help="prepare what is there")
    run.add_argument("--no-finalize", action="store_true", help="write no tables and no report")
    sub.add_parser("status", parents=[every], help="what is prepared, what failed")
    finalize = sub.add_parser("finalize", parents=[every], help="check all files, write the tables")
    finalize.add_argument("--verify", choices=("new", "all", "none"), default="new")
    sub.add_parser("report", parents=[every], help="write report.html beside the store")
    return parser


def recipe_of(args: argparse.Namespace) -> Recipe:
    """The recipe that the options describe."""
    sfreq = Recipe.sfreq if args.sfreq is None else args.sfreq
    lowpass: Any = args.lowpass
    if lowpass == "default":
        # The published edge, as far as the rate allows it.
        lowpass = min(Recipe.lowpass_hz or sfreq, 0.375 * sfreq)
    return Recipe(
        sfreq=sfreq,
        highpass_hz=args.highpass,
        lowpass_hz=lowpass,
        notch=not args.no_notch,
        causal=args.causal,
        bold_sfreq=args.bold_sfreq,
        bold_highpass_hz=args.bold_highpass,
        bold_lowpass_hz=args.bold_lowpass,
    )


def _what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", nargs="+", default=[], metavar="NAME", help="see `list`")
    parser.add_argument(
        "--subjects", help="of eegmmidb, to download: 1 or 1,2,5 or 1-20 (default 1)"
    )


def _user(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("your own recordings")
    group.add_argument("--source", nargs="+", default=[], help="file, folder or BIDS root")
    group.add_argument("--name", help="what to call them; default: the folder's name")
    group.add_argument("--line-freq", type=float, help="Hz, where files do not say")
    group.add_argument("--unit", help="of signals that state none: uV, mV, V")
    group.add_argument("--montage", default="standard_1005", help="MNE montage, or none")
    group.add_argument("--duplicates", choices=("raise", "first"), default="raise")
    group.add_argument("--subject", help="regular expression; its first group names the subject")


def _fmri(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("your own fMRI (NIfTI, CIFTI, GIFTI, FreeSurfer)")
    group.add_argument("--tr", type=float, help="seconds, where no sidecar says it")
    group.add_argument("--atlas", help="parcels instead of voxels: schaefer_100, aal2, ...")
    group.add_argument("--mask", help="image of the voxels that are read")
    group.add_argument("--space", help="of several that fMRIPrep wrote; MNI152, then fsLR first")
    group.add_argument("--drop", type=_count, default=0, help="first frames to leave out")
    group.add_argument("--denoise", help="fMRIPrep confounds: simple, scrubbing, compcor, ...")
    group.add_argument("--bold-sfreq", type=float, help="frames a second to store (as recorded)")
    group.add_argument("--bold-highpass", type=_edge, default=0.008, help="Hz or none (0.008)")
    group.add_argument("--bold-lowpass", type=_edge, default=None, help="Hz or none (none)")


def _recipe(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("recipe (defaults: BrainOmni, arXiv 2505.18185)")
    group.add_argument("--sfreq", type=float, help="Hz (256)")
    group.add_argument("--highpass", type=_edge, default=Recipe.highpass_hz, help="Hz or none")
    group.add_argument("--lowpass", type=_edge, default="default", help="Hz or none (96)")
    group.add_argument(
        "--best-contacts",
        type=int,
        nargs="?",
        const=MOST,
        metavar="N",
        help=f"of intracranial contacts, keep the N best by MVPFormer's score ({MOST})",
    )
    group.add_argument("--no-notch", action="store_true", help="leave line noise in")
    group.add_argument(
        "--causal", action="store_true", help="filters that never look ahead, as live detection has"
    )


def _edge(text: str) -> float | str | None:
    if text == "default":
        return text
    return None if text.lower() in NONE else float(text)


def _count(text: str) -> int:
    n = int(text)
    if n < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return n


def _share(text: str) -> float:
    x = float(text)
    if not 0 <= x <= 1:
        raise argparse.ArgumentTypeError("must lie in 0 to 1")
    return x
