#!/bin/sh
# Turns a bare Debian into what the setup steps find on a Neuron Deep Learning AMI. $1: the root of the file
# system, beside which the folder of Neuron's package repository is made.
set -eu

root=$1
# shellcheck source=/dev/null
codename=$(. "$root/etc/os-release" && echo "$VERSION_CODENAME")

# The AMI's login user, as cloud-init makes it.
chroot "$root" useradd --create-home --shell /bin/bash --comment Ubuntu --groups adm,sudo ubuntu
echo 'ubuntu ALL=(ALL) NOPASSWD:ALL' >"$root/etc/sudoers.d/90-cloud-init-users"
chmod 440 "$root/etc/sudoers.d/90-cloud-init-users"

# Neuron's Python environments and tools. Their names differ by release: steps have to look for them.
for venv in aws_neuronx_venv_pytorch_2_8 aws_neuronx_venv_pytorch_2_8_nxd_inference; do
    chroot "$root" python3 -m venv --without-pip "/opt/$venv"
done
mkdir -p "$root/opt/aws/neuron/bin"
for tool in neuron-ls neuron-top; do
    printf '#!/bin/sh\necho "%s: no Neuron device on this rehearsal host" >&2\nexit 1\n' "$tool" \
        >"$root/opt/aws/neuron/bin/$tool"
    chmod 755 "$root/opt/aws/neuron/bin/$tool"
done

# Neuron's apt source for this release, and one left behind by an older release, which apt-get update fails
# on.
cat >"$root/etc/apt/sources.list.d/neuron.list" <<LIST
deb [signed-by=/usr/share/keyrings/neuron.gpg] https://apt.repos.neuron.amazonaws.com $codename main
deb https://apt.repos.neuron.amazonaws.com jammy main
LIST

# The repository behind it is an empty one, signed by a key of its own that is thrown away here.
repository=$root/../neuron
mkdir "$repository"
keys=$(mktemp -d "$root/tmp/keys.XXXXXX")
in_root=${keys#"$root"}
gpg() { chroot "$root" gpg --batch --quiet --homedir "$in_root" --passphrase '' --pinentry-mode loopback "$@"; }
gpg --quick-generate-key 'Neuron repository of a rehearsal' ed25519 sign never
gpg --export >"$root/usr/share/keyrings/neuron.gpg"
: >"$repository/Packages"
architecture=$(chroot "$root" dpkg --print-architecture)
gpg --clearsign >"$repository/InRelease" <<RELEASE
Origin: Neuron
Label: Neuron
Suite: $codename
Codename: $codename
Date: $(date --utc '+%a, %d %b %Y %H:%M:%S UTC')
Architectures: $architecture
Components: main
SHA256:
 $(sha256sum "$repository/Packages" | cut -d ' ' -f 1) 0 main/binary-$architecture/Packages
RELEASE
chroot "$root" gpgconf --homedir "$in_root" --kill all
rm -r "$keys"

# Commands run in the agent's cgroup, and survive a restart of the agent: the real unit kills its own process
# only.
cat >"$root/etc/systemd/system/amazon-ssm-agent.service" <<'UNIT'
[Unit]
Description=Place of the amazon-ssm-agent
After=network.target

[Service]
WorkingDirectory=/usr/bin
ExecStart=/usr/bin/sleep infinity
KillMode=process
Delegate=yes
Restart=always

[Install]
WantedBy=multi-user.target
UNIT
chroot "$root" systemctl --quiet enable amazon-ssm-agent.service

# Written anew for each host at its boot.
rm -f "$root/etc/hostname" "$root/etc/hosts" "$root/etc/resolv.conf"
