"""What can go wrong between a package and its predictions."""


class CoreMLError(Exception):
    """Base of every error that this executor raises on purpose."""


class PackageError(CoreMLError):
    """The package cannot be read, is no ML program, or contradicts itself."""


class UnsupportedOpError(PackageError):
    """The program holds an op that has no kernel."""


class InputError(CoreMLError, ValueError):
    """An input is missing, unknown, or of a shape or type that Core ML refuses."""


class InputNameError(InputError, KeyError):
    """An input name the model does not have; a `KeyError` too, as in coremltools."""

    __str__ = Exception.__str__


class StateError(CoreMLError, RuntimeError):
    """A state is missing, unknown, of the wrong shape, or passed to a model that has none."""


class ExecutionError(CoreMLError, RuntimeError):
    """An op failed, or its result is not of the type that the file declares."""
