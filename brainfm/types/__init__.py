"""The nouns of brainfm: what flows between its rooms.

`recording` has what readers make and stores keep, `batch` what models see and say. Nothing here
imports torch at run time, so that `import brainfm` stays light.
"""

from brainfm.types.batch import (
    Codes,
    Features,
    HeadOutput,
    SignalBatch,
    Simultaneous,
    TokenStream,
    WindowRef,
)
from brainfm.types.recording import (
    FRAMES,
    N_KINDS,
    UNIT_OF_KIND,
    Channels,
    Event,
    Kind,
    Recording,
    Stimulus,
    subject_id,
)

__all__ = ["FRAMES", "N_KINDS", "UNIT_OF_KIND", "Channels", "Codes", "Event", "Features"]
__all__ += [
    "HeadOutput",
    "Kind",
    "Recording",
    "SignalBatch",
    "Simultaneous",
    "Stimulus",
    "TokenStream",
]
__all__ += ["WindowRef", "subject_id"]
