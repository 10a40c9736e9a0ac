"""What one network expects of its input, and the key that names one training item."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class InputSpec:
    """Input of one network; student and teacher each have their own.

    Attributes:
        size: Side of the square input, or the longer side of a landmark image, in pixels.
        mean: Mean of red, green, blue, of values in 0..1.
        std: Standard deviation of red, green, blue, of values in 0..1.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def with_size(self, size: int) -> "InputSpec":
        """The same normalisation at another size, in pixels."""
        return replace(self, size=size)


@dataclass(frozen=True, slots=True)
class ViewKey:
    """Names one item of an epoch plan.

    All randomness of the item is a pure function of (seed, epoch, position), so that a run can
    resume anywhere and does not depend on how many workers it has.

    Attributes:
        image: Index into the image set.
        epoch: Epoch of the plan, counted from 0.
        position: Place of the item in its epoch, counted from 0.
        partner: Index of the image to mix in, or -1 for no mixup.
    """

    image: int
    epoch: int
    position: int
    partner: int = -1
