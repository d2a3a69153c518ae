"""Find floating-point tensors of a checkpoint that are not weights but what a model computes, caches or scales with.

A state dict does not distinguish parameters from buffers. Names do, in widely shared code, and the values of a mask.
"""

import re
from collections.abc import Collection, Iterable

from torch import Tensor

from steadydecay.inspection.stored_weight import StoredWeight

# Matches the last part of a name as a whole. If a parameter has a similar name, the pattern is as narrow as necessary:
# logit_scale, mask_token, masked_spec_embed and weight normalisation's weight_v are weights.
LAST_PARTS = (
    # Running statistics, the vectors of spectral normalisation, the biases that balance experts.
    r"running_(mean|var)|weight_u|_[uv]|amax_history|e_score_correction_bias|balancing_biases|expert_bias(es)?",
    # Masks.
    r"(.*_)?mask(_?\d+)?|masked_bias|tril|triu|alibi(_bias|_slopes)?",
    # Rotary and sinusoidal positions, and decays with the distance.
    r"(.*_)?(inv_)?freqs?(_(cis|cos|sin|complex|real|imag|h|w|t))?|(.*_)?(cos|sin)(_.*)?|(.*_)?cached?(_.*)?",
    r"pe|_float_tensor|positional_encoding_gaussian_matrix|relative_coords_table|pos_idx_to_embed",
    r"(query|key|diagonal)_decay|slope_rate",
    # Resampling filters, windows and filter banks.
    r"(blur|resample|up|down|lowpass|gaussian|sobel)_(filter|kernel)s?|filt|fb|mel_(basis|filters)|dct_mat",
    r"((hann|hamming|blackman|kaiser|stft)_)?window",
    # What quantised weights are multiplied by.
    r"((nested|weight)_)?(absmax|quant_map)|(.*_)?amax|scb|scales|(weight|input|output|act|activation|[kvqw]|kv|qkv)(_global)?_scales?",
    r"(.*_)?scale_inv|scale_(weight|input)|(.*_)?zero_points?|(act|fc)_scaling_factor|(de)?(q|quant)_?scales?|bitsandbytes__.*",
    r"(weight|bias)_integer|(min|max)_val|(x|input|output)_(min|max)|layer_scalar|eps",
    # Noise schedules of diffusion, averages of codebooks and generators, constants of images.
    r"betas|(.*_)?alphas_cumprod(_prev)?|posterior_(variance|log_variance_clipped|mean_coef[12])|lvlb_weights",
    r"(log_)?sigmas|(ema_)?cluster_size|embed(ding)?_avg|(d?latent|[dw])_avg|magnitude_ema",
    r"(pixel|image|norm|global|data|obs|state|action|input|target|label|x|y)_(mean|std|var|invstd)",
    # What losses, heads and searches keep: weights of classes, centres, prototypes, queues and banks of features.
    r"(class|pos|label|loss|sample)_weights?|(feature_|class_)?cent(er|re)s?|(class_)?prototypes|(text_|image_)?queue",
    r"(.*_)?memory_bank|anchors|anchor_(grid|points)|(weight|bias)_epsilon|action_(scale|bias)|div_term|timescales?",
)
LAST_PART = re.compile("|".join(LAST_PARTS))
# The module that contains a tensor, all of which except weights and biases are buffers.
OWNER = re.compile(
    r"rotary(_.*)?|(.*_)?rope|scaling_layer|.*fake_quant.*|activation_post_process.*|.*sinusoid.*"
    r"|(.*_)?codebook|shared(_image)?_embedding"
)
RESAMPLING = re.compile(r".*(blur|upsample|downsample|resampl|smooth|gauss|antialias|lowpass|sobel).*")
KERNEL_NAMES = ("kernel", "filter", "filters")
WEIGHT_NAMES = ("weight", "bias")
# A buffer if it stands beside one of these: (last part, names beside it).
BESIDE: dict[str, tuple[str, ...]] = {
    "scale": ("mean", "zero_point", "zero", "qweight", "W_q", "packed_weight"),
    "zero": ("qweight", "W_q"),
    "weight_v": ("weight_u",),
    "mean": ("std", "var", "scale"),
    "std": ("mean",),
    "var": ("mean",),
}
# Numbers beside a scale are not weights, because they are in units of the scale.
SCALES = ("{}_scale", "{}_scale_inv", "{}.absmax", "{}.scale")
FEWEST_ROWS_OF_MASK = 3
SIDES_OF_FILTER = range(3, 17)


def buffers_among(weights: Iterable[StoredWeight], names: Collection[str]) -> list[StoredWeight]:
    """Return the tensors whose name and shape show that they are not weights.

    Args:
        weights: The floating-point tensors.
        names: The names of all tensors in the checkpoint.

    >>> found = [StoredWeight(name, (4,), "float32") for name in ("rope.inv_freq", "logit_scale", "q.weight_scale")]
    >>> [one.name for one in buffers_among(found, [])]
    ['rope.inv_freq', 'q.weight_scale']
    """
    every = frozenset(names)
    return [one for one in weights if _is_buffer(one, every)]


def is_fixed(tensor: Tensor) -> bool:
    """Return whether the values reveal a mask or a filter, whatever the name."""
    return is_triangular_mask(tensor) or is_blur(tensor)


def is_blur(tensor: Tensor) -> bool:
    """Return whether a square kernel is the same for each channel and symmetric, as no training would leave it.

    >>> import torch
    >>> row = torch.tensor([1.0, 2.0, 1.0])
    >>> is_blur(row.outer(row).expand(8, 1, 3, 3)), is_blur(torch.ones(8, 1, 3, 3)), is_blur(torch.eye(3))
    (True, False, False)
    """
    side = tensor.shape[-1] if tensor.ndim > 1 else 0
    if side not in SIDES_OF_FILTER or tensor.shape[-2] != side or (tensor.ndim > 3 and tensor.shape[1] != 1):
        return False
    kernels = tensor.detach().reshape(-1, side, side).double()
    first = kernels[0]
    sides = (first.mT, first.flip(0), first.flip(1))
    is_even = all(bool((first == other).all()) for other in sides) and bool((first != first[0, 0]).any())
    return is_even and bool((kernels == first).all())


def is_triangular_mask(tensor: Tensor) -> bool:
    """Return whether one number fills a square matrix up to its diagonal and another the rest, as in causal masks.

    >>> import torch
    >>> is_triangular_mask(torch.ones(1, 1, 4, 4).tril()), is_triangular_mask(torch.ones(4, 4))
    (True, False)
    """
    size = tensor.shape[-1] if tensor.ndim > 1 else 0
    if size < FEWEST_ROWS_OF_MASK or tensor.numel() != size**2 or tensor.shape[-2] != size:
        return False
    matrix = tensor.detach().reshape(size, size)
    below, above = float(matrix[-1, 0]), float(matrix[0, -1])
    # Weights fail at the first row, so that no large weight is read for this.
    rows = (row.double() for row in matrix)
    return below != above and all(
        bool((row[: i + 1] == below).all() and (row[i + 1 :] == above).all()) for i, row in enumerate(rows)
    )


def _is_buffer(weight: StoredWeight, names: frozenset[str]) -> bool:
    path, _, last = weight.name.rpartition(".")
    owner = path.rpartition(".")[2].lower()
    if LAST_PART.fullmatch(last.lower()):
        return True
    if last not in WEIGHT_NAMES and OWNER.fullmatch(owner):
        return True
    if last == "scale" and owner == "weight":
        return True
    if last in KERNEL_NAMES and RESAMPLING.fullmatch(owner):
        return True
    if any(_name(path, other) in names for other in BESIDE.get(last, ())):
        return True
    if weight.dtype.startswith("float8") and any(one.format(weight.name) in names for one in SCALES):
        return True
    return last == "bias" and _is_square_of_one_head(weight.shape)


def _is_square_of_one_head(shape: tuple[int, ...]) -> bool:
    """Recognise the `attn.bias` of GPT-2 and nanoGPT, which is a mask."""
    return len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3] > 1


def _name(path: str, last: str) -> str:
    return f"{path}.{last}" if path else last
