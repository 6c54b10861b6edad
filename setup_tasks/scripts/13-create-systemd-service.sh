#!/bin/bash
# A unit of its own rather than the package's template: this one knows the folder to open and what training needs.
set -euo pipefail

readonly unit=code-server@$USER.service
trial=$(mktemp -d)
trap 'rm -rf "$trial"' EXIT

# Only the editor ends with the unit: training that was started in tmux from one of its terminals goes on, and one
# process that runs out of memory does not take the editor with it. PAM's limits don't reach a service, and EFA
# wants memory it can lock.
cat >"$trial/$unit" <<UNIT
[Unit]
Description=code-server for $USER
After=network.target
RequiresMountsFor=$HOME_DIR
StartLimitIntervalSec=0

[Service]
Type=exec
User=$USER
WorkingDirectory=$HOME_DIR
Environment=PATH=/opt/aws/neuron/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/usr/bin/code-server $HOME_DIR
Restart=always
RestartSec=2
KillMode=process
OOMPolicy=continue
TasksMax=infinity
LimitMEMLOCK=infinity

[Install]
WantedBy=multi-user.target
UNIT
systemd-analyze verify "$trial/$unit"

install -m 644 "$trial/$unit" "/etc/systemd/system/.$unit"
mv "/etc/systemd/system/.$unit" "/etc/systemd/system/$unit"
systemctl daemon-reload

echo "unit $unit is written" >&2
