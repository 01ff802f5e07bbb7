import pytest
import torch

import model.network.torchvision_guard  # noqa: F401  (before timm, which imports torchvision)
from model.network.config import SwinConfig
from model.network.hybrid import HybridBackbone
from model.network.stem import EfficientLite
from training.photos.trunk import package_file, read_trunk

import timm  # isort: skip

CONFIG = SwinConfig(
    stem="efficientnet-lite0", depths=(0, 0, 2, 1), num_heads=(0, 0, 4, 8), window_size=4
)
LITE2 = "efficientnet-lite2"


@pytest.fixture
def backbone() -> HybridBackbone:
    torch.manual_seed(2)
    return HybridBackbone(CONFIG, 384).eval()


def test_the_folded_stem_sees_and_says_what_the_published_network_does() -> None:
    trunk, words = read_trunk(LITE2)
    reference = timm.create_model("tf_efficientnet_lite2", pretrained=False).eval()
    kept = torch.load(package_file(LITE2), weights_only=True)
    names = reference.state_dict().keys()
    reference.load_state_dict(dict(zip(names, kept.values(), strict=True)))
    torch.manual_seed(1)
    pixels = torch.rand(2, 3, 96, 128) * 255
    image = (pixels - 127) / 128
    with torch.inference_mode():
        maps = trunk.eval()(pixels)
        found = words.logits(maps["res5"]).mean((2, 3))
        assert torch.allclose(found, reference(image), atol=1e-3)
        assert [tuple(m.shape[1:]) for m in maps.values()] == [
            (24, 24, 32), (48, 12, 16), (120, 6, 8), (352, 3, 4)
        ]  # fmt: skip


def test_before_its_first_step_nothing_of_the_stem_is_lost(backbone: HybridBackbone) -> None:
    for standard in backbone.standard.values():
        standard.mean.normal_()  # type: ignore[union-attr, operator]
        standard.deviation.uniform_(0.5, 2.0)  # type: ignore[union-attr, operator]
    pixels = torch.rand(2, 3, 64, 64) * 255
    for learns in (False, True):  # blocks that do not learn yet are passed over
        backbone.requires_grad_(learns)
        maps = backbone.look(pixels)
        found = backbone(pixels)
        assert torch.equal(found["res3"], backbone.standard["res3"](maps["res3"]))
        assert torch.equal(found["res4"], backbone.standard["res4"](maps["res4"]))
        both = [backbone.standard[name](maps[name]) for name in ("res5", "words")]
        assert torch.equal(found["res5"], torch.cat(both, 1))


def test_stages_that_begin_as_the_identity_do_learn(backbone: HybridBackbone) -> None:
    backbone.requires_grad_(True)
    found = backbone(torch.rand(1, 3, 64, 64) * 255)
    sum(x.square().sum() for x in found.values()).backward()  # type: ignore[union-attr]
    for level in ("res4", "res5"):
        block = backbone.stages[level].blocks[0]  # type: ignore[union-attr, index]
        assert float(block.mlp.fc2.weight.grad.abs().max()) > 0


def test_every_size_of_input_that_32_divides_is_seen(backbone: HybridBackbone) -> None:
    found = backbone(torch.rand(1, 3, 96, 160) * 255)
    assert [tuple(x.shape[-2:]) for x in found.values()] == [(12, 20), (6, 10), (3, 5)]


def test_a_stem_has_as_many_channels_as_it_says() -> None:
    maps = EfficientLite("efficientnet-lite1")(torch.rand(1, 3, 32, 32))
    assert [m.shape[1] for m in maps.values()] == [24, 40, 112, 320]
