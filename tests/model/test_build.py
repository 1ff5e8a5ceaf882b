"""Names become a model of the report's shapes; what is frozen stays as it was, bit for bit."""

from __future__ import annotations

import itertools
import subprocess
import sys
from importlib.metadata import version

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from wbczoo.config import ModelConfig, Part
from wbczoo.errors import UsageError, WbczooError
from wbczoo.model.build import build, rebuild
from wbczoo.model.compose import compose
from wbczoo.model.fused import FusedClassifier
from wbczoo.specs import Preprocessing
from wbczoo.tasks import CELL, NUCLEUS, Task

BACKBONES = (
    "mobilenetv2", "resnet18", "vgg16", "efficientnet_lite0", "mobilenetv3_small",
    "convnext_atto", "googlenet", "squeezenet1_1", "none",
)  # fmt: skip
SEQUENCES = ("none", "bilstm", "gru", "nucleus", "bilstm_features")
REFUSED = {("none", "none"), ("none", "bilstm_features")}

SMALL = (64, 64)


def pictures(count: int, side: int = 64) -> Tensor:
    """Noise that is the same in every test: (count, 3, side, side) uint8."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)


def test_a_process_that_ends_says_nothing_of_its_own() -> None:
    build = ("build", "--backbone", "mobilenetv2", "--weights", "none", "--image-size", "64")
    done = subprocess.run(
        [sys.executable, "-m", "wbczoo", *build, "--trainable", "all"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""


def test_43_pairs_compose_without_a_framework_and_two_are_refused() -> None:
    script = (
        "import itertools, sys\n"
        "from wbczoo.model.build import compose\n"
        "from wbczoo.errors import UsageError\n"
        f"for pair in itertools.product({BACKBONES}, {SEQUENCES}):\n"
        "    try:\n"
        "        print(*pair, compose(*pair).name)\n"
        "    except UsageError:\n"
        "        print(*pair, 'refused')\n"
        "assert not {'torch', 'timm', 'torchvision'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = [line.split() for line in done.stdout.splitlines()]
    for backbone, sequence, name in told:
        parts = [part for part in (backbone, sequence) if part != "none"]
        assert name == ("refused" if (backbone, sequence) in REFUSED else "+".join(parts))
    assert [(b, s) for b, s, _ in told] == list(itertools.product(BACKBONES, SEQUENCES))
    assert sum(name != "refused" for _, _, name in told) == 43


def test_the_two_refusals_say_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"Neither a backbone nor .*nothing would read.*Choose"):
        compose("none", "none")
    with pytest.raises(UsageError, match=r"'bilstm_features' reads a .*feature map.*bilstm\."):
        compose("none", "bilstm_features")


def test_a_composition_records_each_parts_origin() -> None:
    config = compose("timm/resnet10t", "gru", tasks=(NUCLEUS,), image_size=(96, 128))
    assert config.backbone == Part(
        name="timm/resnet10t", distribution="wbczoo", version=version("wbczoo")
    )
    assert (config.sequence.name, config.sequence.distribution) == ("gru", "wbczoo")
    assert config.tasks == (NUCLEUS,)
    assert config.preprocessing.size == (96, 128)
    assert compose("efficientnet_lite0").preprocessing == Preprocessing(
        interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    )


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"backbone": "mobilnet"}, "no backbone 'mobilnet'.*Nearest: mobilenet"),
        ({"sequence": "lstm"}, "no sequence branch 'lstm'.*Nearest: bilstm"),
        ({"hidden": 0}, "hidden: input should be greater than 0"),
        ({"image_size": (0, 224)}, "has no pixel"),
        ({"tasks": ()}, "needs tasks"),
        ({"tasks": (CELL, Task("cell", ("a", "b")))}, "A task was given twice: cell, cell"),
        ({"backbone_options": {"depth": 3}}, "'depth' is no option of 'mobilenetv2'; it has norm"),
        ({"sequence_options": {"layers": ""}}, "'layers' is no option of 'gru'"),
    ],
)
def test_what_cannot_be_composed_is_wrong_usage(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        compose(**{"backbone": "mobilenetv2", "sequence": "gru", **settings})  # type: ignore[arg-type]
    assert caught.value.exit_code == 2


def test_the_reports_shapes_hold() -> None:
    model = build(compose("mobilenetv2", "bilstm")).eval()
    assert model.config.preprocessing.size == (224, 224)
    assert (model.backbone_features, model.sequence_features) == (1280, 16_384)
    seen: dict[str, Tensor] = {}
    for name in ("backbone", "sequence"):
        part = getattr(model, name)
        part.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
    with torch.inference_mode():
        logits = model(pictures(2, 224))
    assert seen["backbone"].shape == (2, 1280, 7, 7)
    assert seen["sequence"].shape == (2, 16_384)
    assert {name: tuple(answer.shape) for name, answer in logits.items()} == {
        "cell": (2, 4),
        "nucleus": (2, 2),
    }
    for head in model.heads.values():
        assert head.in_features == 17_664


@pytest.mark.parametrize(
    ("pair", "widths"),
    [
        (("resnet18", "none"), (512, 0)),
        (("none", "bilstm"), (0, (2 * 8) ** 2)),
        (("none", "nucleus"), (0, 2 * 8)),
        (("squeezenet1_1", "bilstm_features"), (512, 2 * 8)),
    ],
)
def test_an_absent_part_is_nothing_wide(pair: tuple[str, str], widths: tuple[int, int]) -> None:
    model = build(compose(*pair, hidden=8, image_size=SMALL))
    assert (model.backbone_features, model.sequence_features) == widths
    assert {head.in_features for head in model.heads.values()} == {sum(widths)}


def test_a_seed_gives_the_same_weights_and_leaves_the_random_state_alone() -> None:
    config = compose("resnet18", "gru", hidden=8, image_size=SMALL)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = build(config, seed=3)
    torch.rand(1)
    states = [model.state_dict() for model in (first, build(config, seed=3), build(config, seed=4))]
    torch.set_rng_state(before)
    rebuild(first.config)
    build(config, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name
    for part in ("backbone.conv1.weight", "sequence.rows.weight_ih_l0", "heads.cell_head.weight"):
        assert not torch.equal(states[0][part], states[2][part])


def test_a_model_is_rebuilt_from_its_config_and_state() -> None:
    model = build(compose("squeezenet1_1", "bilstm_features", hidden=8, image_size=SMALL), seed=5)
    again = rebuild(ModelConfig.model_validate_json(model.config.model_dump_json()))
    again.load_state_dict(model.state_dict())
    with torch.inference_mode():
        mine, theirs = model.eval()(pictures(2)), again.eval()(pictures(2))
    for name, logits in mine.items():
        assert torch.equal(logits, theirs[name])


def train_a_step(model: FusedClassifier) -> None:
    optimizer = torch.optim.Adam([p for _, p in model.named_trainable()], lr=1e-2)
    logits = model(pictures(4, model.config.preprocessing.size[0]))
    targets = torch.tensor([0, 1, 0, 1])
    sum(F.cross_entropy(answer, targets) for answer in logits.values()).backward()
    optimizer.step()


@pytest.mark.parametrize("backbone", ["mobilenetv2", "googlenet"])
@pytest.mark.parametrize("trainable", ["head", "last-block", "all"])
def test_frozen_means_frozen_and_the_rest_trains(backbone: str, trainable: str) -> None:
    model = build(compose(backbone, "gru", hidden=8, image_size=SMALL), seed=0)
    model.train()
    model.open_for_training(trainable)  # type: ignore[arg-type]
    model.eval()  # as a validation does
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train_a_step(model)
    changed = {
        name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])
    }
    assert model.backbone is not None
    prefixes = {
        "head": (),
        "last-block": tuple(f"backbone.{prefix}" for prefix in model.backbone.last_block),
        "all": ("backbone.",),
    }[trainable]
    opened = {name for name in before if name.startswith(prefixes)}
    assert (len(opened) > 0) == (trainable != "head")
    statistics = {name for name in opened if "running_" in name}
    assert (len(statistics) > 0) == (trainable != "head")
    others = {name for name in before if not name.startswith("backbone.")} - {"temperatures"}
    assert changed == opened | others


def test_only_what_trains_is_offered_to_the_optimiser() -> None:
    model = build(compose("resnet18", "gru", hidden=8, image_size=SMALL))

    def offered() -> set[str]:
        return {name.split(".")[1] for name, _ in model.named_trainable() if "backbone" in name}

    model.open_for_training("last-block")
    assert offered() == {"layer4"}
    model.open_for_training("head")
    assert offered() == set()
    assert {name.split(".")[0] for name, _ in model.named_trainable()} == {"sequence", "heads"}
    model.open_for_training("all")  # a choice can be taken back
    assert offered() == {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"}


def test_tasks_may_be_named_as_module_dicts_own_names_are() -> None:
    tasks = tuple(Task(name, ("a", "b", "c")) for name in ("type", "train", "keys", "forward"))
    config = compose("none", "gru", tasks=tasks, hidden=4, image_size=(32, 32))
    model = build(config)
    train_a_step(model)
    logits = model.eval()(pictures(1, 32))
    assert list(logits) == ["type", "train", "keys", "forward"]
    assert {tuple(answer.shape) for answer in logits.values()} == {(1, 3)}
    rebuild(model.config).load_state_dict(model.state_dict())


def test_a_part_that_fails_is_named() -> None:
    config = ModelConfig(sequence=Part(name="gru", options={"depth": 3}))
    with pytest.raises(WbczooError, match=r"The part 'gru' could not be built: TypeError: .*depth"):
        build(config)


def test_a_part_that_is_no_longer_installed_is_told() -> None:
    config = ModelConfig(backbone=Part(name="net", distribution="gone-package"))
    with pytest.raises(
        UsageError, match=r"gone-package:net.*pip install gone-package.*wbczoo list"
    ):
        rebuild(config)


def test_a_model_of_timms_that_is_none_gives_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no model 'resnet5O'\. Nearest: .*timm/resnet50"):
        build(compose("timm/resnet5O"))
