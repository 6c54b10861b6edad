#!/bin/bash
# Two places, because shells read different files: /etc/profile.d for everyone's login shells, .bashrc for the
# editor's terminals. The block in .bashrc is replaced as a whole; what the user wrote around it stays.
set -euo pipefail

readonly profile=/etc/profile.d/neuron-tools.sh
readonly begin='# >>> code-server setup >>>' end='# <<< code-server setup <<<'
bashrc=$(readlink -m "$(getent passwd "$USER" | cut -d: -f6)/.bashrc")
temporary=()
trap 'rm -f "${temporary[@]}"' EXIT

temporary+=("$(mktemp "$profile.XXXXXX")")
cat >"${temporary[0]}" <<'SH'
# Written by the code-server setup: Neuron's and EFA's tools, where the image has them.
for directory in /opt/amazon/openmpi/bin /opt/amazon/efa/bin /opt/aws/neuron/bin; do
  case ":$PATH:" in
    *":$directory:"*) ;;
    *) [ ! -d "$directory" ] || PATH="$directory:$PATH" ;;
  esac
done
unset directory
export PATH
SH
sh -n "${temporary[0]}"
chmod 644 "${temporary[0]}"

temporary+=("$(mktemp "$bashrc.XXXXXX")")
{
  [[ ! -f $bashrc ]] || sed "/^$begin\$/,/^$end\$/d" "$bashrc"
  echo "$begin"
  cat <<'BASH'
. /etc/profile.d/neuron-tools.sh

# neuron-venv: lists the image's Neuron environments; neuron-venv NAME: activates one.
neuron-venv() {
  local venv=/opt/aws_neuronx_venv_${1-}
  if [ -n "${1-}" ] && [ -f "$venv/bin/activate" ]; then
    . "$venv/bin/activate"
  else
    compgen -G '/opt/aws_neuronx_venv_*' | sed 's/.*_venv_//' | sort -V
  fi
}

# A new terminal starts in the newest PyTorch environment, or in the newest of any kind. NEURON_VENV in front of
# this block names another one, or "none". The editor hands terminals its own VIRTUAL_ENV, but not the functions
# and the prompt that belong to it.
if [ -f "${VIRTUAL_ENV-}/bin/activate" ]; then
  . "$VIRTUAL_ENV/bin/activate"
elif [ "${NEURON_VENV-}" != none ]; then
  : "${NEURON_VENV:=$(compgen -G '/opt/aws_neuronx_venv_pytorch_*[0-9]' | sed 's/.*_venv_//' | sort -V | tail -n 1)}"
  : "${NEURON_VENV:=$(neuron-venv | tail -n 1)}"
  [ -z "$NEURON_VENV" ] || neuron-venv "$NEURON_VENV"
fi
BASH
  echo "$end"
} >"${temporary[1]}"
bash -n "${temporary[1]}"
chown "$USER:" "${temporary[1]}"
chmod 644 "${temporary[1]}"

mv "${temporary[0]}" "$profile"
mv "${temporary[1]}" "$bashrc"

echo "shells of $USER find the Neuron tools; $(compgen -G '/opt/aws_neuronx_venv_*' | wc -l) Neuron environments on this host" >&2
