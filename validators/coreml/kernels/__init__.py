"""One module per group of MIL ops, grouped as coremltools groups their definitions; importing it registers them all."""

from importlib import import_module
from pkgutil import iter_modules

GROUPS = tuple(sorted(module.name for module in iter_modules(__path__)))

for _group in GROUPS:
    import_module(f"{__name__}.{_group}")
