"""Low-rank adapters stand beside a backbone's dense layers, and go into them at last."""

from __future__ import annotations

from typing import Any

from torch import nn

from wbczoo.errors import UsageError


def add_adapters(model: Any, rank: int) -> None:
    """Put an adapter beside each dense layer of a backbone, in place (Hu et al. 2021, LoRA).

    Sets `adapters`, prefixes of the names of the parameters that train, and `merge_adapters`,
    which adds what they learned to the layers and takes them away.

    Args:
        model: a backbone with its initial weights.
        rank: of each, at least 1.

    Raises:
        UsageError: if peft is not installed, the rank is none, or there is no dense layer.
    """
    if rank < 1:
        raise UsageError(f"An adapter's rank is at least 1, and lora is {rank}.")
    try:
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.lora import LoraLayer
    except ImportError:
        raise UsageError(
            "Adapters need peft, which is not installed: pip install 'wbczoo[lora]'; or leave out "
            "the option lora."
        ) from None
    dense = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not dense:
        raise UsageError("This backbone has no dense layer that an adapter could stand beside.")
    settings = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=dense)
    inject_adapter_in_model(settings, model)
    names = [name for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    model.adapters = tuple(f"{name}.lora_" for name in names)

    def merge(network: Any) -> None:
        for name in names:
            layer = network.get_submodule(name)
            layer.merge()
            owner, _, leaf = name.rpartition(".")
            setattr(network.get_submodule(owner), leaf, layer.get_base_layer())
        network.adapters = ()

    model.merge_adapters = merge
