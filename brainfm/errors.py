"""The two refusals of brainfm. Both carry one sentence: what, what was found, what to do."""


class DataError(ValueError):
    """A recording, a table or a file that cannot enter, with its name and the remedy."""


class ContractError(ValueError):
    """Weights and data (or a checkpoint and a model) that do not fit; names both values."""
