"""One page that shows checks and what was seen of them to people: a file that opens anywhere, without a network."""

from validators.page.evidence import Answer, Evidence, Held, Located, Outcome, Stage, Wrote
from validators.page.page import missing, write

__all__ = ["Answer", "Evidence", "Held", "Located", "Outcome", "Stage", "Wrote", "missing", "write"]
