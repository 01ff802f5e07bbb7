"""What a picture's numbers mean as colours: any mode and any profile to plain sRGB. Free of torch.

An embedded profile is heeded wherever a photo is decoded, so that the network, thumbnails and
cut-outs see the same colours as a person before a managed screen. Untagged pictures count as sRGB.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

# The nine levels a channel of a probe, and how far a profile may move any of their mixtures and
# still be one of the many writings of sRGB. Those differ by 1 level at most, the nearest other
# profiles of cameras by 6.
_PROBE_LEVELS = 9
_SRGB_TOLERANCE = 2
# A camera writes one profile into all of its photos; building a transform takes 20 to 30 ms.
_PROFILES_KEPT = 8
_DIRECT = ("L", "LA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_SPACES = {"L": "GRAY", "RGB": "RGB ", "CMYK": "CMYK"}


def direct(image: Image.Image) -> Image.Image:
    """The picture in a mode whose numbers are intensities of eight bits, so that it can be resized.

    Args:
        image: any mode that Pillow opens.
    Returns:
        "L", "LA", "RGB", "RGBA", "RGBX", "CMYK" or "YCbCr", with its profile; 16-bit greys by
        their upper bits, other greys scaled by what they hold (`eight_bits`).
    Raises:
        ValueError: a float picture without a finite value.
    """
    if "transparency" in image.info and image.mode in ("1", "L", "RGB", "P"):
        return image.convert("RGBA")
    if image.mode in _DIRECT:
        return image
    if image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
        assert converted is not None  # None only where it converts in place
        converted.info.pop("icc_profile", None)
        return converted
    if image.mode.startswith("I;16"):
        return grey(eight_bits(np.asarray(image).astype(np.uint16)), image)
    if image.mode == "I":
        values = np.asarray(image)
        top = 255 if values.max(initial=0) <= 255 else 65535  # Pillow opens a 16-bit PGM so
        return grey(_stretched(values, 0.0, top), image)
    if image.mode == "F":
        return grey(eight_bits(np.asarray(image)), image)
    modes = {"1": "L", "P": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}
    return image.convert(modes.get(image.mode, "RGB"))


def to_srgb(image: Image.Image) -> Image.Image:
    """The picture as a screen of the web would show it.

    Args:
        image: any mode.
    Returns:
        mode "RGB", converted from the embedded profile to sRGB, transparent parts on white. A
        profile that is broken or belongs to another kind of picture is ignored; one that is sRGB
        changes no pixel.
    """
    given = direct(image)
    alpha = given.getchannel("A") if given.mode in ("LA", "RGBA") else None
    opaque = {"LA": "L", "RGBA": "RGB", "RGBX": "RGB", "YCbCr": "RGB"}
    plain = given.convert(opaque[given.mode]) if given.mode in opaque else given
    profile = given.info.get("icc_profile")
    transform = _transform(profile, plain.mode) if isinstance(profile, bytes) else None
    if transform is not None:
        plain = transform.apply(plain)
    shown = plain if plain.mode == "RGB" else plain.convert("RGB")
    if shown is not image:
        shown.info.pop("icc_profile", None)  # it must not be applied again
    if alpha is not None:
        ground = Image.new("RGBA", shown.size, "white")
        shown.putalpha(alpha)
        shown = Image.alpha_composite(ground, shown).convert("RGB")
    return shown


def eight_bits(values: NDArray) -> NDArray[np.uint8]:
    """Scale samples of any type to what a screen shows.

    Args:
        values: (...) integers or floats; NaN, infinities and 1e30 and beyond, which maps write for
            "nothing here", do not count and come out black.
    Returns:
        (...) uint8. Unsigned integers of 8 and 16 bits and floats within [0, 1] keep their scale;
        of all others the least value is black and the greatest white.
    Raises:
        ValueError: no value is finite.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.uint16:
        return (values >> 8).astype(np.uint8)
    counts = np.isfinite(values) & (np.abs(values.astype(np.float64)) < 1e30)
    if not counts.any():
        raise ValueError("no pixel has a finite value")
    low, high = float(values[counts].min()), float(values[counts].max())
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    return np.where(counts, _stretched(np.where(counts, values, low), low, high), np.uint8(0))


def grey(values: NDArray[np.uint8], like: Image.Image) -> Image.Image:
    """(H, W) as a picture of mode "L" that keeps what another one tells of itself."""
    image = Image.fromarray(values, mode="L")
    image.info = {name: value for name, value in like.info.items() if name != "transparency"}
    return image


def _stretched(values: NDArray, low: float, high: float) -> NDArray[np.uint8]:
    scaled = (values.astype(np.float64) - low) * (255.0 / max(high - low, 1e-12))
    return np.clip(scaled, 0, 255, out=scaled).round().astype(np.uint8)


@lru_cache(maxsize=_PROFILES_KEPT)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB, for pictures of a mode; None where there is nothing to convert."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space != _SPACES[mode]:
            return None
        target = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, target, mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    probe = _probe(mode)
    moved = np.abs(np.asarray(transform.apply(probe), int) - np.asarray(probe.convert("RGB"), int))
    return transform if mode == "CMYK" or moved.max() > _SRGB_TOLERANCE else None


def _probe(mode: str) -> Image.Image:
    levels = np.linspace(0, 255, _PROBE_LEVELS).round().astype(np.uint8)
    if mode != "RGB":
        return Image.fromarray(levels[None], mode="L").convert(mode)
    mixtures = np.stack(np.meshgrid(levels, levels, levels), axis=-1)
    return Image.fromarray(mixtures.reshape(_PROBE_LEVELS, -1, 3))
