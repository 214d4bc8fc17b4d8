"""How a run is spread over devices: DDP unless told, FSDP2 and DeepSpeed by name.

Everything heavy is imported inside the functions: most runs need none of it.
"""

import os
from typing import TYPE_CHECKING, Any

from brainfm.errors import ContractError

if TYPE_CHECKING:
    from lightning.pytorch.strategies import Strategy

NAMES = ("auto", "ddp", "fsdp2", "deepspeed", "deepspeed_3", "deepspeed_cpu")


def build(name: str) -> "Strategy | str":
    """What `trainer.strategy: name` stands for.

    Parameters
    ----------
    name : one of `NAMES`, or any name Lightning knows (it is passed on)
        "ddp": one copy of the model per process, single-file checkpoints; the default of choice
        to a billion parameters. "fsdp2": weights, gradients and moments sharded
        (`fully_shard`, block by block), checkpoint folders. "deepspeed", "deepspeed_3": ZeRO
        stage 2 and 3. "deepspeed_cpu": the double that tests run, ZeRO-2 over gloo.
    """
    if name == "fsdp2":
        from lightning.pytorch.strategies import ModelParallelStrategy

        # The default would split tensors over all devices of a node.
        return ModelParallelStrategy(data_parallel_size="auto", tensor_parallel_size=1)
    if name.startswith("deepspeed"):
        return _deepspeed(name)
    return name


def _deepspeed(name: str) -> "Strategy":
    if name == "deepspeed_cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"  # read when deepspeed is first imported
    try:
        import deepspeed  # noqa: F401
    except ImportError as e:
        raise ContractError(
            f"trainer.strategy is '{name}' but deepspeed is not installed; "
            "pip install 'brainfm-decoding[deepspeed]' or use ddp or fsdp2"
        ) from e
    from lightning.pytorch.strategies import DeepSpeedStrategy

    if name == "deepspeed_cpu":
        return _cpu_double(DeepSpeedStrategy)
    stage = 3 if name.endswith("_3") else 2
    return DeepSpeedStrategy(stage=stage)


def _cpu_double(base: type) -> "Strategy":
    """DeepSpeed itself runs on CPU over gloo; only Lightning's checks forbid it."""
    import torch

    class CPUDeepSpeed(base):
        def setup_environment(self) -> None:
            import deepspeed
            from lightning.pytorch.strategies import DDPStrategy

            DDPStrategy.setup_environment(self)
            deepspeed.init_distributed("gloo", dist_init_required=False)

        @property
        def root_device(self) -> Any:
            return torch.device("cpu")

    return CPUDeepSpeed(stage=2, process_group_backend="gloo")


def shard(module: Any, mesh: Any) -> None:
    """FSDP2: shard every repeated block of `module` on its own, then the rest.

    Parameters
    ----------
    module : a model; the elements of its `nn.ModuleList`s are the blocks
    mesh : `task.device_mesh["data_parallel"]`
    """
    from torch import nn
    from torch.distributed.fsdp import fully_shard

    for part in list(module.modules()):
        if isinstance(part, nn.ModuleList):
            for block in part:
                if any(True for _ in block.parameters()):
                    fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)
