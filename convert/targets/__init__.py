"""The formats: a module each, found by being here. Nothing else in the project knows a format by its name."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from convert.targets.target import Option, Settings, Target
from recipes.base import files
from recipes.base.errors import UserError
from validators.runners.runtime import Runtime


def _found() -> tuple[Target, ...]:
    modules = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
    targets = [module.TARGET for module in modules if hasattr(module, "TARGET")]
    # What is always made is made first.
    return tuple(sorted(targets, key=lambda target: (not target.always, target.name)))


TARGETS = _found()


def named(name: str) -> Target:
    """The target of that name; UserError where there is none."""
    for target in TARGETS:
        if target.name == name:
            return target
    raise UserError(f"there is no format {name!r}; the formats are {', '.join(target.name for target in TARGETS)}")


def asked_for(names: tuple[str, ...], given: Settings) -> tuple[tuple[Target, Settings], ...]:
    """The targets of these names and those that are always made, each once, with its settings.

    Raises UserError for an option that is given and belongs to none of them.
    """
    wanted = tuple(target for target in TARGETS if target.always or target.name in names)
    for option in options():
        if given.get(option.name) is not None and not set(wanted) & set(declaring(option)):
            owners = " or ".join(f"--to {target.name}" for target in declaring(option))
            raise UserError(f"{option.flag} belongs to {owners}; add {owners}, or leave it out")
    return tuple((target, target.settings(given)) for target in wanted)


def options() -> tuple[Option, ...]:
    """Those that any target declares, each once."""
    return tuple({option.name: option for target in TARGETS for option in target.options}.values())


def declaring(option: Option) -> tuple[Target, ...]:
    """The targets that have this option."""
    return tuple(target for target in TARGETS if option in target.options)


def of_artifact(artifact: Path) -> Target:
    """The target whose artifacts are called so, the longest ending first; UserError where there is none."""
    for target in sorted(TARGETS, key=lambda target: -len(target.suffix)):
        if target.is_of(artifact.name):
            return target
    suffixes = [target.suffix for target in TARGETS]
    endings = " or ".join(suffix for suffix in suffixes if suffix.startswith("."))
    folders = " or ".join(suffix for suffix in suffixes if not suffix.startswith("."))
    raise UserError(f"{artifact}: not an artifact that can be run; its name must end in {endings}, or be {folders}")


def choose_runtime(artifact: Path, name: str | None = None) -> Runtime:
    """The runtime of that name or, for a format's name or None, the first of the artifact's runtimes that is here."""
    target = of_artifact(artifact)
    if not artifact.exists():
        raise UserError(f"{artifact}: no such file; `convert recipe` makes one")
    if what := files.special(artifact):
        raise UserError(f"{artifact}: is {what}, which is not read; give an artifact that `convert recipe` made")
    runtimes = target.runtimes_of(artifact.name)
    wanted = [runtime for runtime in runtimes if name in (None, target.name, runtime.name)]
    if not wanted:
        others = " or ".join(runtime.name for runtime in runtimes)
        raise UserError(f"{artifact.name} cannot be run by {name}; choose {others}")
    for runtime in wanted:
        if runtime.absent() is None:
            return runtime
    raise UserError(f"{artifact.name}: {wanted[0].absent()}")
