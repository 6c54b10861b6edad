"""`python main.py` as it would be with the provider package imported as everybody does; `synth` compares the two.

`stacks/provider.py` leaves a package alone that has been imported already. And that import starts Node, before
`stacks/node.py` says that its modules shall load on demand, which then has no effect. So nothing needs to be undone.
"""

from __future__ import annotations

import sys

# First, because that is what makes this the usual way.
import cdktf_cdktf_provider_aws  # noqa: F401

import main

if __name__ == "__main__":
    sys.exit(main.main())
