"""JinSequence: the promises of its form."""

import numpy as np
import pytest
import torch
from made_models import learn, photos

from b2m.losses import sequence_losses
from b2m.models import JinSequence, JinSequenceConfig

TINY = JinSequenceConfig.tiny()


def make(config=TINY, seed=0):
    """An untrained model in evaluation mode whose frames differ."""
    torch.manual_seed(seed)
    model = JinSequence(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "colours.4" in name:
                parameter.mul_(100)
    return model


def losses(model, photo, truth):
    middle, *pairs = model.pieces(photo)
    return sequence_losses(middle, pairs, truth)


def test_frames_are_put_together_of_pieces():
    with torch.inference_mode():
        photo = photos(2, 65, 98)
        frames = make()(photo)
        pieces = make().pieces(photo)
    assert torch.equal(frames[:, 3:4], pieces.middle)
    for place, pair in enumerate(pieces[1:], 1):
        assert torch.equal(frames[:, [3 - place, 3 + place]], pair)


def test_all_frames_start_near_the_photo():
    photo = photos(1, 80, 80)
    torch.manual_seed(0)
    frames = JinSequence(TINY)(photo)
    assert (frames - photo[:, None]).abs().max() < 0.1
    assert (frames - photo[:, None]).abs().max() > 0


def test_colours_go_through_the_trunk_alike():
    """All but the last small network treats each colour as if it were alone."""
    trunk, photo = make().middle, photos(1, 64, 64)
    trunk.colours = torch.nn.Identity()
    with torch.inference_mode():
        apart = [trunk(photo[:, [colour] * 3])[:, 0] for colour in range(3)]
        torch.testing.assert_close(trunk(photo)[0], torch.cat(apart))


def test_each_network_sees_what_was_found_before_it():
    model, photo, seen = make(), photos(1, 76, 76), {}  # and 4 pixels of padding

    def note(name):
        """Both frames of a pair may come in one batch: a call each."""

        def hook(module, given, result):
            parts = (part[..., :76, :76].split(1) for part in (*given, result))
            for call in zip(*parts, strict=True):
                seen.setdefault(name, []).append(call)

        return hook

    for name in ("middle", "far", "outer"):
        getattr(model, name).register_forward_hook(note(name))
    for place, network in enumerate(model.near):
        network.register_forward_hook(note(f"near {place}"))
    with torch.inference_mode():
        first, second, third, fourth, fifth, sixth, last = model(photo)[0]
    expected = {  # of each call: what it sees beside the photo, and what comes of it
        "middle": [(fourth,)],
        "near 0": [(fourth, fourth, third)],
        "near 1": [(third, fourth, fifth)],
        "far": [(fourth, third, second), (fourth, fifth, sixth)],
        "outer": [(third, second, first), (fifth, sixth, last)],
    }
    assert {name: len(calls) for name, calls in seen.items()} == {
        name: len(calls) for name, calls in expected.items()
    }
    for name, calls in expected.items():
        for wanted, (*given, change) in zip(calls, seen[name], strict=True):
            assert torch.equal(given[0], photo)
            for one, other in zip(given[1:], wanted, strict=False):
                assert torch.equal(one[0], other)
            torch.testing.assert_close(given[-1][0] + change[0], wanted[-1])


def test_it_learns_a_batch_by_heart():
    """Not frame by frame: the loss of a pair lets its two frames swap at any pixel."""
    torch.manual_seed(0)
    model = JinSequence(JinSequenceConfig(12, 16, 4, 1, 1, 1))
    sharp = photos(1, 36, 48, seed=9)
    frames = torch.stack([sharp[..., 2 * n : 2 * n + 36] for n in range(7)], 1)
    photo = frames.mean(1)

    def each():
        return torch.stack(losses(model, photo, frames))

    begun = each().detach()

    def learnt():
        share = each() / begun
        return share[0] < 0.1 and (share[1:] < 0.75).all()  # the truth of the middle frame is one

    learn(model, lambda: each().sum(), learnt, 80, 3e-3)


def test_losses_are_their_equations():
    """Number by number: squares for the middle frame, sums and differences for each pair."""
    rng = np.random.default_rng(0)
    # Not of sRGB's range: of what is below zero, the absolute sum differs from the sum.
    middle, truth = rng.normal(size=(2, 1, 3, 4, 5)), rng.normal(size=(2, 5, 3, 4, 5))
    pairs = rng.normal(size=(2, 2, 2, 3, 4, 5))  # which pair, batch, which frame of it
    expected = [0.0, 0.0, 0.0]
    for b, c, y, x in np.ndindex(2, 3, 4, 5):
        expected[0] += (middle[b, 0, c, y, x] - truth[b, 2, c, y, x]) ** 2
        for place in range(2):
            one, other = pairs[place, b, 0, c, y, x], pairs[place, b, 1, c, y, x]
            before, after = truth[b, 1 - place, c, y, x], truth[b, 3 + place, c, y, x]
            expected[1 + place] += abs(abs(one + other) - abs(before + after))
            expected[1 + place] += abs(abs(one - other) - abs(before - after))
    found = sequence_losses(
        torch.from_numpy(middle), list(torch.from_numpy(pairs)), torch.from_numpy(truth)
    )
    numbers = 2 * 3 * 4 * 5
    assert [loss.item() for loss in found] == pytest.approx([e / numbers for e in expected])
