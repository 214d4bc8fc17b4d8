"""How a run is spread over devices: DDP unless told, FSDP2 and DeepSpeed by name.

Everything heavy is imported inside the functions: most runs need none of it.
"""

import os
from typing import TYPE_CHECKING, Any

from brainfm.errors import ContractError

if TYPE_CHECKING:
    from lightning.pytorch.strategies import Strategy

NAMES = ("auto", "ddp", "fsdp2", "deepspeed", "deepspeed_3", "deepspeed_cpu")

ENTRIES = (
    *("training_forward", "masked_forward", "predict_next"),
    *("tokenize", "encode", "decode"),
)
"""Methods by which tasks enter a model besides `forward`; FSDP2 gathers weights before them."""


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
        return _fsdp2()
    if name.startswith("deepspeed"):
        return _deepspeed(name)
    return name


def _fsdp2() -> "Strategy":
    from lightning.pytorch.strategies import ModelParallelStrategy

    class FSDP2(ModelParallelStrategy):
        def setup_environment(self) -> None:
            # "auto" would shard over nodes only, and split tensors over the devices of a node.
            self._data_parallel_size = self.num_nodes * self.num_processes
            super().setup_environment()

        def shard(self, module: Any) -> None:
            """Called by `BrainTask.configure_model`, when the mesh exists and weights do too."""
            shard(module, self.device_mesh["data_parallel"])

    return FSDP2(data_parallel_size="auto", tensor_parallel_size=1)


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
    from lightning.fabric.utilities.seed import reset_seed
    from lightning.pytorch.strategies import DDPStrategy

    class CPUDeepSpeed(base):
        def setup_environment(self) -> None:
            DDPStrategy.setup_environment(self)  # without the check for CUDA

        def setup_distributed(self) -> None:
            reset_seed()
            self.set_world_ranks()
            self._init_deepspeed_distributed()  # without the check of device indices

        @property
        def root_device(self) -> Any:
            return torch.device("cpu", self.local_rank)  # deepspeed wants an index

    return CPUDeepSpeed(stage=2, process_group_backend="gloo")


def shard(module: Any, mesh: Any) -> None:
    """FSDP2: shard every repeated block of `module` on its own, then the rest.

    Frozen weights (the codec inside an encoder) stay whole on every rank: there is nothing to
    exchange for them.

    Parameters
    ----------
    module : a model; the elements of its own `nn.ModuleList`s are the blocks
    mesh : `task.device_mesh["data_parallel"]`
    """
    from torch import nn
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    for part in module.children():
        if isinstance(part, nn.ModuleList):
            for block in part:
                fully_shard(block, mesh=mesh)
    frozen = {p for p in module.parameters() if not p.requires_grad}
    fully_shard(module, mesh=mesh, ignored_params=frozen)
    for method in ENTRIES:
        if hasattr(module, method):
            register_fsdp_forward_method(module, method)
