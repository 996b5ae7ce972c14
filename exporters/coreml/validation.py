"""Whether a program is well-formed is asked once, when it is done.

coremltools asks it after each of its hundred passes, which for a deep graph takes as long as the passes themselves.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import coremltools as ct
from coremltools.converters.mil import Program


@contextmanager
def validated_once() -> Iterator[Callable[[ct.models.MLModel], None]]:
    """Conversions inside the block do not validate; what is given does so for their result, and raises as they would.

    On leaving, however the block ends, coremltools is as it was.
    """
    validate = Program.validate
    Program.validate = lambda program, check_essential_scope=False: None
    try:
        yield lambda model: validate(model._mil_program)
    finally:
        Program.validate = validate
