"""What Core ML's runtime refuses, or takes off the GPU or the Neural Engine, found in a saved package without a Mac."""

# Each of these modules enters its rules into the table.
from validators.coreml.rules import devices, interface, pads, tensors, versions  # noqa: F401
from validators.coreml.rules.program import Program, programs
from validators.coreml.rules.rule import RULES, Breach, Rule, check_programs, check_rules

__all__ = ["RULES", "Breach", "Program", "Rule", "check_programs", "check_rules", "programs"]
