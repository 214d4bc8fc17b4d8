"""`python -m eval.probe`: what an encoder knows, beside controls and baselines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EPILOG = (
    "example: python -m eval.probe --checkpoint runs/demo/encoder "
    "--dataset HandMovementDirection --dataset Blink"
)


def parser() -> argparse.ArgumentParser:
    """Options; the defaults are those of the demo."""
    p = argparse.ArgumentParser(prog="python -m eval.probe", description=__doc__, epilog=EPILOG)
    p.add_argument(
        "--checkpoint", help="folder of save_pretrained (BrainOmni, BrainTokenizer, UnifiedEncoder)"
    )
    p.add_argument("--store", help="prepared store; default $BRAINFM_DATA/store")
    p.add_argument("--dataset", action="append", required=True, help="may be repeated")
    p.add_argument("--seeds", type=int, default=3, help="of everything random (default 3)")
    p.add_argument(
        "--routes",
        nargs="+",
        default=["baselines", "frozen", "finetune", "random"],
        help="of baselines, frozen, finetune, random (default all)",
    )
    p.add_argument("--epochs", type=int, help="of the fine-tune; default: its recipe's")
    p.add_argument("--workers", type=int, default=2, help="processes that fit (default 2)")
    p.add_argument("--out", default="runs/probe", help="folder of report.html, .json and table.md")
    p.add_argument("--json", action="store_true", help="one JSON line last")
    return p


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the probe and write its report; returns what report.json holds."""
    from rich.console import Console

    from eval.probe.pages import add_dataset, markdown, summary
    from eval.report import Report, print_json, write_atomic

    args = parser().parse_args(argv)
    console = Console(stderr=True)
    results = probe(
        args.checkpoint,
        args.store,
        args.dataset,
        seeds=args.seeds,
        routes=tuple(args.routes),
        epochs=args.epochs,
        workers=args.workers,
        say=lambda sentence: console.print(sentence, style="dim", highlight=False),
    )
    report = Report(
        "probe",
        "What the encoder knows",
        {"checkpoint": args.checkpoint, "datasets": results},
        subtitle="Frozen and fine-tuned, beside the same recipes from random weights and beside "
        "classical decoders, on trials nobody saw before.",
    )
    summary(report, results)
    out = Console()
    for result in results:
        add_dataset(report, result)
        out.print(*markdown_parts(result))
    folder = Path(args.out)
    page = report.write(folder)
    write_atomic(folder / "table.md", "\n".join(markdown(r) for r in results))
    out.print(f"report: {page}")
    content = {"name": "probe", **report.data, "report": str(page)}
    if args.json:
        print_json(content)
    return content


def markdown_parts(result: dict[str, Any]) -> list[Any]:
    """What the terminal shows of a data set."""
    from eval.probe.run import table_rows
    from eval.tables import rich_table

    title = f"{result['title']}: {result['n_test']} test trials"
    columns = ["route", "balanced accuracy", "accuracy", "kappa", "macro f1", "auroc", "seeds"]
    return [
        rich_table(table_rows(result, brief=True), columns, title),
        "\n".join(result["verdict"]) + "\n",
    ]


def probe(
    checkpoint: str | None,
    store_dir: str | None,
    datasets: Sequence[str],
    *,
    seeds: int = 3,
    routes: tuple[str, ...] = ("baselines", "frozen", "finetune", "random"),
    epochs: int | None = None,
    workers: int = 2,
    say: Any = lambda sentence: None,
) -> list[dict[str, Any]]:
    """Probe every data set; `eval.demo` calls this.

    Raises
    ------
    DataError, ContractError
        If a data set is not in the store, or the model's recipe is not the store's.
    """
    from brainfm.data.collate import require_store_recipe
    from brainfm.data.store import Store
    from brainfm.hub import load_model
    from eval.probe.finetune import Recipe
    from eval.probe.routes import make_routes
    from eval.probe.run import probe_dataset
    from eval.probe.trials import folds_of, spec_of
    from eval.probe.words import target_met, verdict

    store = Store(store_dir)
    if checkpoint is not None:
        model = load_model(checkpoint)
        if model.preprocess is not None:
            require_store_recipe(model.preprocess, store)
    recipe = Recipe() if epochs is None else Recipe(epochs=epochs)
    specs = [spec_of(name) for name in datasets]
    for spec in specs:
        # A data set that cannot be probed is refused now, not when all others are done.
        next(folds_of(store, spec))
    results = []
    for spec in specs:
        made = make_routes(
            checkpoint,
            store.recipe.sfreq,
            sorts=routes,
            n_seeds=seeds,
            imagery=spec.imagery,
            recipe=recipe,
        )
        result = probe_dataset(store, spec, made, workers=workers, say=say)
        result["verdict"] = verdict(result)
        result["no_worse_than_best_baseline"] = target_met(result)
        results.append(result)
    return results


if __name__ == "__main__":
    from brainfm.errors import ContractError, DataError

    try:
        main()
    except (ContractError, DataError) as refusal:
        sys.stderr.write(f"brainfm: {refusal}\n")
        sys.exit(1)
