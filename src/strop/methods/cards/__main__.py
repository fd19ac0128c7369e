"""``python -m strop.methods.cards docs/methods`` writes the pages of the method cards."""

import sys
from pathlib import Path

from strop.methods.cards import write_pages

write_pages(Path(sys.argv[1]))
