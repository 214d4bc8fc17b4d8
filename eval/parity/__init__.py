"""Recompute published reference files: `python -m eval.parity FILE.npz [--strict] [--json]`.

One module a system, with `matches(reference)` and `compute(reference)`; `SYSTEMS` names them.
"""
