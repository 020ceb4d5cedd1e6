"""NAFNet: the paper's size, and the promises of its form."""

import pytest
import torch
from scipy import ndimage
from torch.utils.flop_counter import FlopCounterMode

from b2m.models import NAFNet, NAFNetConfig

TINY = NAFNetConfig.tiny()


def make(seed=0):
    """An untrained model whose blocks are not silent."""
    torch.manual_seed(seed)
    model = NAFNet(TINY).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("beta", "gamma")):
                parameter.normal_()
    return model


def photos(batch, height, width):
    noise = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))
    smooth = torch.from_numpy(ndimage.gaussian_filter(noise.numpy(), (0, 0, 2, 2)))
    return (0.5 + 0.2 * smooth / smooth.std()).clamp(0, 1)


def on_paper(config):
    with torch.device("meta"):
        return NAFNet(config)


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_paper_size():
    model = on_paper(NAFNetConfig.paper()).eval()
    assert parameters(model) / 1e6 == pytest.approx(17.11, abs=0.01)
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, 256, 256, device="meta"))
    assert counter.get_total_flops() / 2e9 == pytest.approx(16, abs=0.1)


@pytest.mark.parametrize("size", [(64, 64), (65, 98), (103, 67)])
def test_any_size(size):
    model, photo = make(), photos(2, *size)
    with torch.inference_mode():
        sharp = model(photo)
        assert torch.equal(sharp, model(photo, torch.ones(2, 2, *size)))
    assert sharp.shape == (2, 1, 3, *size)
    assert sharp.isfinite().all()


def test_the_photo_is_added():
    model, photo = make(), photos(1, 64, 64)
    with torch.no_grad():
        model.ending.weight.zero_()
        model.ending.bias.zero_()
        assert torch.equal(model(photo)[:, 0], photo)


def test_every_parameter_gets_a_gradient():
    model = make().train()
    model(photos(2, 64, 64)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_it_learns_a_batch_by_heart():
    torch.manual_seed(0)
    model = NAFNet(NAFNetConfig(width=8, encoder=(1, 1, 0, 0), middle=1, decoder=(0, 0, 1, 1)))
    sharp = photos(2, 48, 60)
    photo = torch.stack([sharp[..., 2 * n : 2 * n + 48] for n in range(7)], 1).mean(1)
    truth = sharp[..., 6:54]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(120):
        loss = (model(photo)[:, 0] - truth).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.3 * (photo - truth).square().mean()
