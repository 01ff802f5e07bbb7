"""Three lines of Python: load a network, set a photo, ask.

>>> from referent import Referent
>>> referent = Referent("rela-photo")
>>> referent.set_image("beach.jpg")
>>> answer = referent.ask("the girl with the red ball")
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model import masks
from model.asking import Network, Said, Seen
from model.errors import PhotoError
from referent.networks import load_network

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Floats = NDArray[np.float32]


class Answer:
    """What a network answers to one expression about one photo, H x W pixels.

    The names are the paper's: N = P² regions, T words.
    """

    def __init__(
        self, expression: str, said: Said, p_no_target: float, width: int, height: int
    ) -> None:
        self.expression = expression
        self.p_no_target = p_no_target
        """Calibrated probability that the expression refers to nothing here."""
        self._said, self._size = said, (width, height)

    def __repr__(self) -> str:
        """In short."""
        found = f"{self.area} pixels" if self.target else "nothing here"
        return f"<Answer {self.expression!r}: p(no target) {self.p_no_target:.3f}, {found}>"

    @property
    def target(self) -> bool:
        """Whether it refers to something here: p(no target) of at most one half."""
        return self.p_no_target <= 0.5

    @cached_property
    def _shown(self) -> masks.Mask:
        return self._said.render(*self._size, accepted=self.target)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) pixels of the referents; all False where nothing is referred to."""
        return self._shown.array

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return self._shown.area

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """x, y, width, height of the mask in pixels; None of an empty one."""
        return self._shown.box

    @property
    def rle(self) -> dict[str, Any]:
        """The mask in COCO's compressed form."""
        return self._shown.rle

    @property
    def mask_logit(self) -> Floats:
        """(h, w) at the network's own size, whatever the decision; positive is target."""
        return self._said.mask_logit

    @property
    def minimap(self) -> Floats:
        """x_r: (P, P) in [0, 1], how likely each region holds a target."""
        return self._said.minimap

    @property
    def region_masks(self) -> Floats:
        """M_r: (N, h, w) in [0, 1]."""
        return self._said.region_masks

    @property
    def words(self) -> tuple[str, ...]:
        """The T word pieces that were read, [CLS] first."""
        return self._said.words

    @property
    def A_l(self) -> Floats | None:  # noqa: N802 - the paper's name
        """(N, T): how much each region heard of each word; None where the network has none."""
        return self._said.word_attention

    @property
    def A_ri(self) -> Floats | None:  # noqa: N802 - the paper's name
        """(N, h, w): where each region collected its features; None where there is no such."""
        return self._said.region_attention


class Referent:
    """A network to ask about photos.

    Args:
        model: its name, such as "rela-photo", "rela-mini" or an imported "rela-official-base"; or
            a weights file.
        device: "cpu" or "cuda".
        album_prior: read p(no target) as in an album, where most photos do not match, instead of
            at the prior of pairs that the network was calibrated on.
    Raises:
        UnknownModel, WeightsError: there is no such network, or no weights of it.
    """

    def __init__(
        self, model: str | Path = "rela-photo", *, device: str = "cpu", album_prior: bool = False
    ) -> None:
        self.network: Network = load_network(str(model), device)
        self.album_prior = album_prior
        self._seen: Seen | None = None
        self._size = (0, 0)

    def set_image(self, image: str | Path | Image.Image | ArrayLike) -> Image.Image:
        """Look at a photo; a late-fusion network encodes it now, once for all expressions.

        Args:
            image: a file in any format that is indexed too, a Pillow picture, or (H, W, 3) uint8
                RGB; turned upright by its EXIF.
        Returns:
            the picture as it is looked at.
        Raises:
            PhotoError: it cannot be read.
        """
        picture = _upright(image)
        self._seen, self._size = self.network.encode([picture]), picture.size
        return picture

    @overload
    def ask(self, expressions: str) -> Answer: ...
    @overload
    def ask(self, expressions: list[str] | tuple[str, ...]) -> list[Answer]: ...
    def ask(self, expressions: str | list[str] | tuple[str, ...]) -> Answer | list[Answer]:
        """Ask one expression, or several, of the photo.

        Raises:
            PhotoError: no photo is set.
            ExpressionError: an expression is empty, too long or holds no known word.
        """
        if not isinstance(expressions, str):
            return [self.ask(each) for each in expressions]
        if self._seen is None:
            raise PhotoError("no photo is set; call set_image first")
        (said,) = self._seen.judge([(0, expressions)])
        confidence = self.network.calibration.confidence(
            said.no_target_logit, shifted=self.album_prior
        )
        return Answer(expressions, said, 1 - float(confidence), *self._size)


def _upright(image: str | Path | Image.Image | ArrayLike) -> Image.Image:
    from model.network.preprocess import upright

    if isinstance(image, str | Path):
        from indexer.photos.decode import load_upright
        from indexer.settings import Settings

        return load_upright(Path(image), Settings())
    if isinstance(image, Image.Image):
        return upright(image)
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise PhotoError(
            f"an array is to be (H, W, 3) uint8 RGB, not {pixels.shape} {pixels.dtype}"
        )
    return Image.fromarray(pixels)
