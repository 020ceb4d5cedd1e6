"""NAFNet: the promises of its form."""

import torch
from made_models import learn, make, photos

from b2m.models import NAFNet, NAFNetConfig

TINY = NAFNetConfig.tiny()


def test_guidance_changes_nothing():
    model, photo = make(TINY), photos(2, 65, 98)
    with torch.inference_mode():
        assert torch.equal(model(photo), model(photo, torch.ones(2, 2, 65, 98)))


def test_the_photo_is_added():
    model, photo = make(TINY), photos(1, 64, 64)
    with torch.no_grad():
        model.ending.weight.zero_()
        model.ending.bias.zero_()
        assert torch.equal(model(photo)[:, 0], photo)


def test_it_learns_a_batch_by_heart():
    torch.manual_seed(0)
    model = NAFNet(NAFNetConfig(width=8, encoder=(1, 1, 0, 0), middle=1, decoder=(0, 0, 1, 1)))
    sharp = photos(2, 48, 60)
    photo = torch.stack([sharp[..., 2 * n : 2 * n + 48] for n in range(7)], 1).mean(1)
    truth = sharp[..., 6:54]

    def error():
        return (model(photo)[:, 0] - truth).square().mean()

    learn(model, error, lambda: error() < 0.3 * (photo - truth).square().mean(), 120, 3e-3)
