"""`python -m brainfm`: info, encode, codes, detect. It answers before torch is loaded."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

SHOWN = (
    "torch lightning transformers diffusers deepspeed mne mne-bids einops numpy "
    "safetensors braindecode pyriemann"
).split()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Refusals are one sentence on stderr."""
    args = _parser().parse_args(argv)
    from brainfm.errors import ContractError, DataError

    try:
        return int(args.run(args))
    except (ContractError, DataError, FileNotFoundError) as refusal:
        sys.stderr.write(f"brainfm: {refusal}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m brainfm", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    info = commands.add_parser("info", help="versions, device, sizes and presets")
    info.add_argument("--json", action="store_true", help="one JSON line")
    info.set_defaults(run=_info)

    encode = commands.add_parser(
        "encode",
        help="features of a recording",
        epilog="example: python -m brainfm encode sub-01_eeg.edf --checkpoint runs/demo/encoder",
    )
    encode.add_argument("recording", help="anything MNE reads: EDF, BDF, FIF, BrainVision, ...")
    encode.add_argument("--checkpoint", required=True, help="folder of save_pretrained")
    encode.add_argument("--out", help="npz to write; default: RECORDING name + .features.npz")
    encode.add_argument("--line-freq", type=float, help="Hz, where the file does not say")
    encode.add_argument("--json", action="store_true", help="one JSON line last")
    encode.set_defaults(run=_encode)

    codes = commands.add_parser(
        "codes",
        help="a recording to a code file, and back",
        epilog="example: python -m brainfm codes sub-01_eeg.edf --codec runs/demo/codec/export",
    )
    codes.add_argument("file", help="anything MNE reads; with --decode: a code file")
    codes.add_argument("--codec", required=True, help="folder of save_pretrained")
    codes.add_argument("--out", help="code file to write; default: FILE name + .codes")
    codes.add_argument("--window", type=float, default=10.0, help="seconds coded alone (10)")
    codes.add_argument(
        "--half", action="store_true", help="networks in bfloat16: faster, some codes differ"
    )
    codes.add_argument("--decode", metavar="OUT", help="write the signal: .npy or _raw.fif")
    codes.add_argument("--original", help="with --decode: the recording, to compare with")
    codes.add_argument("--line-freq", type=float, help="Hz, where the recording does not say")
    codes.add_argument("--json", action="store_true", help="one JSON line last")
    codes.set_defaults(run=_codes)

    detect = commands.add_parser(
        "detect",
        help="seizures in a recording or a live stream",
        epilog="example: python -m brainfm detect sub-01_eeg.edf --checkpoint runs/seizure/export",
    )
    detect.add_argument("recording", nargs="?", help="anything MNE reads, of any length")
    detect.add_argument("--checkpoint", required=True, help="folder of a seizure detector")
    detect.add_argument("--out", help="folder for table, probabilities and timeline (detections)")
    detect.add_argument("--threshold", type=float, help="instead of the checkpoint's own")
    detect.add_argument("--causal", action="store_true", help="refuse filters that look ahead")
    detect.add_argument("--line-freq", type=float, help="Hz, where the recording does not say")
    detect.add_argument(
        "--duplicates",
        choices=("raise", "first"),
        default="raise",
        help="of a file: where two columns share a name, refuse (default) or read the first",
    )
    detect.add_argument("--live", metavar="lsl:NAME", help="a Lab Streaming Layer stream")
    detect.add_argument(
        "--follow", action="store_true", help="the file (EDF, BDF or .f32) is still being written"
    )
    detect.add_argument(
        "--patience", type=float, default=30.0, help="seconds without samples that end it (30)"
    )
    detect.add_argument("--json", action="store_true", help="one JSON line last")
    detect.set_defaults(run=_detect)
    return parser


def collect_info() -> dict[str, Any]:
    """What `info` shows: versions of installed packages, device, model sizes."""
    from brainfm import __version__
    from brainfm.models.sizes import describe

    versions = {"brainfm": __version__, "python": platform.python_version()}
    for package in SHOWN:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {"versions": versions, "device": _device(), "presets": describe()}


def _device() -> dict[str, Any]:
    """Read from the system, not from torch: importing torch alone costs more than a second."""
    gpus = []
    for card in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        lines = dict(x.split(":", 1) for x in card.read_text().splitlines() if ":" in x)
        gpus.append(lines.get("Model", "NVIDIA").strip())
    import os

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"gpus": gpus, "cores": cores, "system": f"{platform.system()} {platform.machine()}"}


def _info(args: argparse.Namespace) -> int:
    found = collect_info()
    if args.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    write = sys.stdout.write
    write("versions\n")
    for name, value in found["versions"].items():
        write(f"  {name:<14}{value}\n")
    device = found["device"]
    write(f"device\n  {device['system']}, {device['cores']} cores\n")
    write(f"  {', '.join(device['gpus']) or 'no NVIDIA driver seen: everything runs on the CPU'}\n")
    write("presets\n")
    for row in found["presets"]:
        size = f"{row['parameters'] / 1e6:8.2f} M"
        write(f"  {row['model']:<16}{row['preset']:<10}{size}  {row['what']}\n")
    return 0


def _encode(args: argparse.Namespace) -> int:
    from brainfm.api import encode_file

    encoded = encode_file(args.recording, args.checkpoint, line_freq=args.line_freq)
    out = Path(args.out or Path(args.recording).name + ".features.npz")
    out = encoded.save(out)
    sys.stdout.write(f"{encoded!r}\nwritten to {out}\n")
    if args.json:
        sys.stdout.write(json.dumps({"out": str(out), **encoded.summary()}) + "\n")
    return 0


def _codes(args: argparse.Namespace) -> int:
    from brainfm.codes import run

    return run(args, lambda line: sys.stdout.write(line + "\n"))


def _detect(args: argparse.Namespace) -> int:
    from brainfm.detect.command import run

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        # Whoever waits for an alarm must not wait for a full buffer.
        sys.stdout.flush()

    return run(args, say)


if __name__ == "__main__":
    sys.exit(main())
