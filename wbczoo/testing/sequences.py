"""What a sequence branch alone must keep: it reads in an order."""

from __future__ import annotations

from wbczoo.specs import SequenceSpec
from wbczoo.testing.modules import close
from wbczoo.testing.subject import CheckFailed, answer, build_module, disturb, noise


def check_order(spec: SequenceSpec) -> None:
    """The answer changes when the order changes: of the rows of a grey image, of the positions of
    a coloured image or a feature map.
    """
    import torch

    module = build_module(spec)
    disturb(module)
    read = noise(spec, 2)
    if spec.reads == "pixels":
        other, what = read.flip(1), "rows of the image"
    else:
        places = torch.randperm(
            read[0, 0].numel(), generator=torch.Generator().manual_seed(0)
        )  # (h w,)
        other = read.flatten(2)[:, :, places].view(read.shape)
        what = f"positions of the {'image' if spec.reads == 'colours' else 'feature map'}"
    if close(answer(module, read), answer(module, other)):
        raise CheckFailed(
            f"Its answer stays the same when the {what} change places: it reads no sequence."
        )
