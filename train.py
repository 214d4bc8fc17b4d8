"""Train a model: `python train.py fit --config configs/codec/braintokenizer_demo.yaml`."""

from brainfm.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
