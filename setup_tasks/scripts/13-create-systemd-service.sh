#!/bin/bash
# Replaces the package's unit: this one opens HOME_DIR and sets the limits that training needs.
set -euo pipefail

readonly unit=code-server@$USER.service
trial=$(mktemp -d)
trap 'rm -rf "$trial"' EXIT

# KillMode, OOMPolicy: training that was started in tmux goes on when the unit stops, and a process that runs out of memory
# does not stop the editor. LimitMEMLOCK: EFA needs locked memory, and PAM's limits do not apply to services.
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
