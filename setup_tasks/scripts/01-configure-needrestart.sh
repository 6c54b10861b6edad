#!/bin/bash
# Over SSM nobody can answer needrestart's questions. NEEDRESTART_MODE=l, which every task is run with, has it list
# services only, for the setup's own installations alone. Earlier versions of the setup wrote that into a file, for
# everyone's installations from then on: it is taken away, so that security updates restart services again.
set -euo pipefail

rm -f /etc/needrestart/conf.d/50-code-server-setup.conf

echo "needrestart asks nothing during the setup, and is as the image has it after it" >&2
