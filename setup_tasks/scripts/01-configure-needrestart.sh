#!/bin/bash
# Over SSM nobody can answer needrestart's questions. Tasks run with NEEDRESTART_MODE=l, so that it only lists services.
# Earlier versions of the setup configured this for the whole host. The file is removed, so that security updates restart
# services again.
set -euo pipefail

rm -f /etc/needrestart/conf.d/50-code-server-setup.conf

echo "needrestart asks no questions during the setup; its configuration is the image's" >&2
