"""Losses, each a function with its equation: those of the papers after our own.

Our copies of the papers are text, which lost some symbols; each docstring says which, and what was
chosen. A scalar is a tensor without dimensions. Truths are starred.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from b2m.errors import InputError

_FEW_PIXELS = 200  # a mean over fewer would be noise


def charbonnier(estimate: Tensor, truth: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Smooth absolute difference, mean of sqrt(d^2 + epsilon^2) - epsilon (Charbonnier 1994).

    Args:
        estimate: any shape.
        truth: the same shape.
        epsilon: in the unit of both; below it the loss is quadratic.

    Returns:
        A scalar.
    """
    return ((estimate - truth).square() + epsilon**2).sqrt().mean() - epsilon


def axis_loss(axis: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Distance between motion axes, which have no sign; mean over pixels.

    Args:
        axis: (B, 2, H, W) double-angle vectors m (cos 2a, sin 2a), pixels.
        truth: (B, 2, H, W) the same.
        mask: (B, H, W) bool, the pixels that count; None for all. Of very few the loss is small.

    Returns:
        A scalar in pixels: mean of sqrt(|q - q*|^2 + 0.01) - 0.1.
    """
    distance = ((axis - truth).square().sum(1) + 0.01).sqrt() - 0.1
    if mask is None:
        return distance.mean()
    return (distance * mask).sum() / mask.sum().clamp_min(_FEW_PIXELS)


# --- Video Restoration from a Blurred Image (Argaw et al. 2021a), section 4.3 ---------------------


def multiscale_photometric(
    images: Sequence[Tensor], truth: Tensor, weights: Sequence[float] | None = None
) -> Tensor:
    """Weighted multi-scale photometric loss (Argaw 2021a, Eq. 3).

        L_mp = sum over frames n and scales l of w_l |I_l^n - I*_l^n|_1

    with the truth shrunk bilinearly to each scale. Our text of the paper lost the norm, the number
    of scales and the weights. Chosen here: absolute differences, averaged over batch, channels and
    pixels of a scale so that the loss does not depend on the size of the photo, and weights of 1.

    Args:
        images: one (B, N, 3, h, w) for each scale, in any order; sRGB.
        truth: (B, N, 3, H, W) sRGB, at full scale.
        weights: w_l, as many as images; None for 1 each.

    Returns:
        A scalar.

    Raises:
        InputError: no scale, as many weights as there are not scales, or other batches or frames.
    """
    total = truth.new_zeros(())
    for image, weight in _weighted(images, weights):
        difference = image - _shrink(truth, image.shape)
        total = total + weight * difference.abs().mean((0, 2, 3, 4)).sum()
    return total


def transformation_consistency(transforms: Sequence[Tensor]) -> Tensor:
    """Transformations found at different scales agree (Argaw 2021a, Eq. 4).

        L_tc = sum over non-middle frames n and scales l of |theta_l^n - theta_(l+1)^n|^2

    Our text lost the equation and the kind of norm. Chosen here: each scale against the next one,
    squares averaged over the batch and the six numbers of a transformation, which has a slope of
    zero where all scales agree, as they do when they start at the identity.

    Args:
        transforms: (B, N - 1, 2, 3) for each scale, from the coarsest to the finest or the other
            way round: affine maps in coordinates from -1 to 1, which mean the same at all scales.

    Returns:
        A scalar; 0 for a single scale.

    Raises:
        InputError: no scale, or shapes differ.
    """
    if not transforms:
        raise InputError("transformation consistency takes at least one scale")
    total = transforms[0].new_zeros(())
    for one, other in pairwise(transforms):
        _same_shape(one, other)
        total = total + (one - other).square().mean((0, 2, 3)).sum()
    return total


def symmetry_penalty(frames: Tensor, truth: Tensor) -> Tensor:
    """Negative sum of absolute differences from the time-symmetric truth (Argaw 2021a, Eq. 5).

        L_p = - sum over n != m of |I^n - I*^(N + 1 - n)|_1,    m = (N + 1) / 2

    It keeps a network from giving the middle frame for all. Our text lost the equation, not its
    description. Chosen here: differences averaged over batch, channels and pixels, as in Eq. 3.

    Args:
        frames: (B, N, 3, H, W) sRGB, N odd.
        truth: the same shape.

    Returns:
        A scalar, at most 0.

    Raises:
        InputError: shapes differ, or N is even.
    """
    _same_shape(frames, truth)
    count = frames.shape[1]
    if count % 2 == 0:
        raise InputError(f"a clip with a middle frame has an odd number of frames, not {count}")
    apart = (frames - truth.flip(1)).abs().mean((0, 2, 3, 4))
    return apart[count // 2] - apart.sum()


def video_restoration_loss(
    images: Sequence[Tensor],
    truth: Tensor,
    transforms: Sequence[Tensor],
    *,
    weights: Sequence[float] | None = None,
    consistency: float = 1.0,
    penalty: float = 0.1,
) -> Tensor:
    """The sum by which the video restorer is trained (Argaw 2021a, Eq. 6).

        L = L_mp + lambda_1 L_tc + lambda_2 L_p

    Our text lost both weights. Chosen here: 1 and 0.1. The penalty has to weigh less than the
    full scale of L_mp, or the loss has no lower bound.

    Args:
        images: as `multiscale_photometric` takes them, the last one at full scale.
        truth: (B, N, 3, H, W) sRGB.
        transforms: as `transformation_consistency` takes them; none for a network without them.
        weights: of the scales.
        consistency: lambda_1.
        penalty: lambda_2.

    Returns:
        A scalar.

    Raises:
        InputError: as the three raise it.
    """
    loss = multiscale_photometric(images, truth, weights)
    if transforms:
        loss = loss + consistency * transformation_consistency(transforms)
    return loss + penalty * symmetry_penalty(images[-1], truth)


# --- Optical Flow Estimation from a Single Motion-blurred Image (Argaw et al. 2021b) --------------

EPE_WEIGHTS = (0.32, 0.08, 0.04, 0.02, 0.01, 0.005)
"""w_6 … w_1 of Argaw 2021b, from the lowest to the highest resolution."""


def multiscale_epe(
    flows: Sequence[Tensor], truth: Tensor, weights: Sequence[float] = EPE_WEIGHTS
) -> Tensor:
    """Weighted multi-scale endpoint error (Argaw 2021b, Eq. 6).

        L = sum over scales l of w_l |f_l - f*_l|_2

    with the truth shrunk bilinearly to each scale. The paper does not say how pixels are put
    together, nor whether vectors shrink with the grid. Chosen here, as in PWC-Net, whose weights
    these are: the lengths are summed over the pixels and averaged over the batch (averaged over
    pixels, the weights would leave nothing to the finest scale), and flows at every scale are in
    pixels of the full one.

    Args:
        flows: one (B, 2, h, w) for each weight, in pixels of the full scale.
        truth: (B, 2, H, W) pixels.
        weights: as many as flows; the paper's go from the coarsest to the finest.

    Returns:
        A scalar in pixels; it grows with the area of the photo. Where flow and truth agree its
        gradient is 0.

    Raises:
        InputError: no scale, as many weights as there are not scales, or another batch.
    """
    total = truth.new_zeros(())
    for flow, weight in _weighted(flows, weights):
        difference = flow - _shrink(truth, flow.shape)
        total = total + weight * torch.linalg.vector_norm(difference, dim=1).sum() / len(flow)
    return total


# --- Animation from Blur (Zhong et al. 2022) ------------------------------------------------------


def staged_mse(stages: Tensor, truth: Tensor) -> Tensor:
    """Squared error of the frames after each stage (Zhong 2022, Eq. 8).

        L_2 = sum over stages s of |I - I_s|_2^2

    The equation names the final frames only; the authors train both stages alike, which is what is
    done here. Squares are averaged over all numbers of a stage, not summed.

    Args:
        stages: (B, S, T, 3, H, W) sRGB, the frames after each of S stages.
        truth: (B, T, 3, H, W) sRGB.

    Returns:
        A scalar.

    Raises:
        InputError: shapes do not go together.
    """
    if stages.ndim != truth.ndim + 1:
        raise InputError(f"stages of shape {tuple(stages.shape)} need one dimension before frames")
    _same_shape(stages[:, 0], truth)
    return (stages - truth[:, None]).square().mean() * stages.shape[1]


def lsgan_generator_loss(fake_scores: Sequence[Tensor]) -> Tensor:
    """Least-squares GAN loss of the generator (in Zhong 2022, Eq. 9; Mao et al. 2017, Eq. 9).

        L_GAN(G) = sum over scales d of mean (D_d(G) - 1)^2

    The paper writes L_GAN only, after cVAE-GAN. Chosen here: the sum over the discriminators of
    all scales, without Mao's factor of a half, which is the mixing coefficient's matter.

    Args:
        fake_scores: of each discriminator for generated guidance, any shapes.

    Returns:
        A scalar.

    Raises:
        InputError: no scale.
    """
    return _sum([(scores - 1).square().mean() for scores in fake_scores])


def lsgan_discriminator_loss(
    real_scores: Sequence[Tensor], fake_scores: Sequence[Tensor]
) -> Tensor:
    """Least-squares GAN loss of the discriminators (with Zhong 2022, Eq. 9; Mao et al. 2017).

        L_GAN(D) = sum over scales d of mean (D_d(real) - 1)^2 + mean D_d(generated)^2

    Without Mao's factor of a half, as in `lsgan_generator_loss`.

    Args:
        real_scores: of each discriminator for true guidance, any shapes.
        fake_scores: for generated guidance, detached from the generator.

    Returns:
        A scalar.

    Raises:
        InputError: no scale, or different numbers of them.
    """
    if len(real_scores) != len(fake_scores):
        raise InputError(f"{len(real_scores)} real score maps but {len(fake_scores)} fake ones")
    return _sum([(scores - 1).square().mean() for scores in real_scores]) + _sum(
        [scores.square().mean() for scores in fake_scores]
    )


def guidance_cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy over the five classes of guidance: L_VAE of Zhong 2022, Eq. 9.

        L_CE = - mean over pixels of log softmax(logits)[class]

    Args:
        logits: (B, 5, H, W), any finite numbers.
        classes: (B, H, W) int64 from 0 to 4: still, (1, -1), (-1, -1), (-1, 1), (1, 1).

    Returns:
        A scalar in nats.

    Raises:
        InputError: shapes do not go together.
    """
    if logits.ndim != 4 or logits[:, 0].shape != classes.shape:
        raise InputError(
            f"logits {tuple(logits.shape)} and classes {tuple(classes.shape)} are not of one grid"
        )
    return F.cross_entropy(logits, classes)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the latent from N(0, 1): L_KL of Zhong 2022, Eq. 9.

        L_KL = 1/2 sum over the latent of mu^2 + sigma^2 - 1 - log sigma^2

    summed over the numbers of the latent and averaged over the batch, which the paper leaves open.

    Args:
        mean: (B, Z), mu.
        log_variance: (B, Z), log sigma^2.

    Returns:
        A scalar in nats, at least 0.

    Raises:
        InputError: shapes differ.
    """
    _same_shape(mean, log_variance)
    each = mean.square() + log_variance.exp() - 1 - log_variance
    return 0.5 * each.sum(1).mean()


def guidance_loss(
    fake_scores: Sequence[Tensor],
    logits: Tensor,
    classes: Tensor,
    mean: Tensor,
    log_variance: Tensor,
    *,
    adversarial: float = 0.1,
    entropy: float = 10.0,
    divergence: float = 0.1,
) -> Tensor:
    """The sum by which the guidance predictor is trained (Zhong 2022, Eq. 9).

        L_guidance = lambda_1 L_GAN + lambda_2 L_VAE + lambda_3 L_KL

    with L_VAE a cross-entropy, as the supplement says, and its 0.1, 10 and 0.1 (the authors' own
    runs took 1, 10 and 0.01). The discriminators judge samples of the logits by Gumbel-softmax.

    Args:
        fake_scores: as `lsgan_generator_loss` takes it.
        logits: (B, 5, H, W).
        classes: (B, H, W) int64 from 0 to 4.
        mean: (B, Z).
        log_variance: (B, Z).
        adversarial: lambda_1.
        entropy: lambda_2.
        divergence: lambda_3.

    Returns:
        A scalar.

    Raises:
        InputError: as the three raise it.
    """
    return (
        adversarial * lsgan_generator_loss(fake_scores)
        + entropy * guidance_cross_entropy(logits, classes)
        + divergence * kl_to_standard_normal(mean, log_variance)
    )


# --- Learning to Extract a Video Sequence from a Single Motion-Blurred Image (Jin et al. 2018) ----


def pair_loss(pair: Tensor, truth: Tensor) -> Tensor:
    """Pairwise order-invariant loss (Jin et al. 2018), on |sum| and |difference| of a pair.

        L = | |x1 + x2| - |x1* + x2*| |_1 + | |x1 - x2| - |x1* - x2*| |_1

    It is the same when the pair or the truth is swapped at any of its pixels. Of the paper we know
    its description in the other three, which leaves the outer norm open. Chosen here: absolute
    differences, averaged over all pixels and channels.

    Args:
        pair: (B, 2, 3, H, W) sRGB, two frames symmetric in time.
        truth: the same shape.

    Returns:
        A scalar.

    Raises:
        InputError: shapes differ, or there are not two frames.
    """
    _same_shape(pair, truth)
    if pair.shape[1] != 2:
        raise InputError(f"a pair is of 2 frames, not {pair.shape[1]}")
    first, last = pair.unbind(1)
    true_first, true_last = truth.unbind(1)
    total = (first + last).abs() - (true_first + true_last).abs()
    difference = (first - last).abs() - (true_first - true_last).abs()
    return total.abs().mean() + difference.abs().mean()


def sequence_losses(middle: Tensor, pairs: Sequence[Tensor], truth: Tensor) -> tuple[Tensor, ...]:
    """The loss of each network of Jin et al. 2018: of the middle frame, and of each pair.

        L_m = |x_m - x*_m|_2^2,    L_k = pair_loss((x_(m-k), x_(m+k)), (x*_(m-k), x*_(m+k)))

    The four networks are trained one after the other, each by its own loss alone; so no sum is
    given. Chosen here: squares averaged over all numbers, without the perceptual term that their
    middle frame has beside them, which needs the weights of another network.

    Args:
        middle: (B, 1, 3, H, W) sRGB, the middle frame.
        pairs: (B, 2, 3, H, W) sRGB each, from the middle outwards.
        truth: (B, N, 3, H, W) sRGB, with N = 1 + 2 len(pairs).

    Returns:
        A scalar for the middle frame and one for each pair.

    Raises:
        InputError: shapes do not go together.
    """
    count, last = len(pairs), truth.shape[1] - 1
    if last != 2 * count:
        raise InputError(f"{count} pairs and a middle frame are no clip of {last + 1} frames")
    _same_shape(middle, truth[:, count : count + 1])
    losses = [(middle - truth[:, count : count + 1]).square().mean()]
    for place, pair in enumerate(pairs, 1):
        losses.append(pair_loss(pair, truth[:, [count - place, count + place]]))
    return tuple(losses)


def closest_temporal_order(frames: Tensor, truth: Tensor) -> Tensor:
    """True clips, each in that of its two orders which is nearer to what was found.

        F** = argmin over F* and its reverse of |F - F'|_1

    A photo tells its clip up to reversal: a loss against this asks for no order. Any other rule, as
    by the sign of the mean motion, is noise where the motion is across that.

    Args:
        frames: (B, T, 3, H, W) sRGB, found; no gradient goes through the choice.
        truth: the same shape.

    Returns:
        The same shape.

    Raises:
        InputError: shapes differ.
    """
    _same_shape(frames, truth)
    back = truth.flip(1)
    there, reversed_ = (
        (frames.detach() - order).abs().mean((1, 2, 3, 4)) for order in (truth, back)
    )
    return torch.where((reversed_ < there).view(-1, 1, 1, 1, 1), back, truth)


def closest_sign(flow: Tensor, truth: Tensor) -> Tensor:
    """True flow, of each photo with that sign which is nearer to what was found.

        f** = argmin over f* and -f* of mean |f - f'|_2

    Args:
        flow: (B, 2, h, w), found; no gradient goes through the choice.
        truth: (B, 2, H, W) in the same pixels, at any scale.

    Returns:
        (B, 2, H, W).
    """
    small = _shrink(truth, flow.shape)
    there, back = ((flow.detach() - sign * small).norm(dim=1).mean((1, 2)) for sign in (1, -1))
    return torch.where((back < there).view(-1, 1, 1, 1), -truth, truth)


def _weighted(
    scales: Sequence[Tensor], weights: Sequence[float] | None
) -> list[tuple[Tensor, float]]:
    """Each scale with its weight."""
    weights = [1.0] * len(scales) if weights is None else weights
    if not scales or len(scales) != len(weights):
        raise InputError(f"{len(scales)} scales with {len(weights)} weights: give one for each")
    return list(zip(scales, weights, strict=True))


def _shrink(truth: Tensor, shape: torch.Size) -> Tensor:
    """The truth (…, C, H, W) bilinearly at the size of a prediction of the given shape."""
    if truth.shape[:-2] != shape[:-2]:
        raise InputError(f"a scale is of shape {tuple(shape)}, the truth {tuple(truth.shape)}")
    if truth.shape == shape:
        return truth
    small = F.interpolate(truth.flatten(0, -4), size=shape[-2:], mode="bilinear")
    return small.view(shape)


def _same_shape(one: Tensor, other: Tensor) -> None:
    if one.shape != other.shape:
        raise InputError(f"shapes {tuple(one.shape)} and {tuple(other.shape)} differ")


def _sum(terms: list[Tensor]) -> Tensor:
    if not terms:
        raise InputError("there are no scores of a discriminator: give at least one scale")
    return torch.stack(terms).sum()
