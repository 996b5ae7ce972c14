"""The front end of chunks: what of a sound a state has to hold, and what the host does at its ends."""

from dataclasses import replace

from recipes.base.errors import UserError
from recipes.base.tensor import Input, Stream
from recipes.mel import constants
from recipes.mel.spec import Variant


def fed_chunks(variant: Variant, frames: int) -> Variant:
    """The variant that is fed chunks of so many hops. Raises UserError for what frames alone do not tell."""
    numbers = variant.front_end
    _refuse(variant, frames)
    front, back = numbers.beyond
    of_whole = numbers.pre_emphasis_start != "frame"
    dropped = numbers.pre_emphasis_start == "dropped"
    # What a frame's first sample loses by emphasis it is given back, rounded: both need the one before.
    led = numbers.pre_emphasis > 0 and not of_whole and bool(constants.window(numbers)[0])
    unread = numbers.unread + numbers.hop_length * numbers.drop_last_frame
    # From the middle of a window to its end; what else has to come before a frame counts; and the chunk's other frames.
    latency = numbers.taps - numbers.taps // 2 + dropped + max(0, unread - back) + (frames - 1) * numbers.hop_length
    if numbers.centre == "reflect":
        # What is reflected in front has to have come, and the sample that it is reflected at.
        latency = max(latency, front + 1 + dropped)
    stream = Stream(
        frames=frames,
        hop=numbers.hop_length,
        window=numbers.taps + led,
        padding=numbers.centre,
        front=front,
        back=back,
        skipped=numbers.skipped,
        unread=unread,
        emphasis=numbers.pre_emphasis if of_whole else 0,
        first_dropped=dropped,
        levelled=numbers.remove_dc,
        led=led,
        least=numbers.least_samples,
        latency=latency,
        unit=numbers.unit,
        tolerance=variant.streaming,
    )
    hops = "A hop" if frames == 1 else f"{frames} hops"
    fed = Input(
        name="chunk",
        axes=("batch", stream.chunk),
        description=f"{hops} of mono sound at {variant.sample_rate} Hz, full scale is 1",
        stream=stream,
    )
    return replace(variant, input=fed)


def _refuse(variant: Variant, frames: int) -> None:
    numbers = variant.front_end
    of_clip = [f"top_db {numbers.top_db:g}"] if numbers.top_db else []
    of_clip += ["ref max"] if numbers.ref == "max" else []
    if of_clip:
        raise UserError(
            f"--streaming: {variant.name} has {' and '.join(of_clip)}: that goes by the whole clip's greatest, which "
            "no chunk knows; set it otherwise (top_db=null, ref=1), or leave --streaming out"
        )
    if numbers.hop_length >= numbers.taps:
        raise UserError(
            f"--streaming: frames of {variant.name} are {numbers.taps} samples every {numbers.hop_length} and share "
            "none, so that there is no state; leave --streaming out: where centre is none, model.onnx gives each frame "
            "of its own samples"
        )
    if frames * numbers.hop_length > variant.input.most:
        seconds = variant.input.most / variant.sample_rate
        raise UserError(f"--streaming {frames}: a chunk of so many hops is over {seconds:g} s; choose fewer")


def of_blocks(variant: Variant) -> Variant:
    """The same of a state with the chunk behind it: all frames that are whole in it, of sound as the host feeds it."""
    numbers = variant.front_end
    block = replace(numbers, centre="none", frame="window", drop_last_frame=False)
    if numbers.pre_emphasis_start != "frame":
        block = replace(block, pre_emphasis=0, pre_emphasis_start="zero")
    return replace(variant, front_end=block)
