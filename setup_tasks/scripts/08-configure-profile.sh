#!/bin/bash
# Login shells read /etc/profile.d, the editor's terminals .bashrc. The block in .bashrc is replaced; the rest of the file
# is not changed. It is written as the user: root would follow links in the home.
set -euo pipefail

readonly profile=/etc/profile.d/neuron-tools.sh
readonly begin='# >>> code-server setup >>>' end='# <<< code-server setup <<<'
home=$(getent passwd "$USER" | cut -d: -f6)
as_user() { runuser -u "$USER" -- env -i HOME="$home" PATH="$PATH" LC_ALL=C.UTF-8 "$@"; }
bashrc=$(as_user readlink -m "$home/.bashrc")
if [[ $bashrc != "$(readlink -f "$home")"/* ]]; then
  echo "$home/.bashrc is a symbolic link out of the home, to $bashrc: put a file there that reads it (. $bashrc), then run the setup again" >&2
  exit 1
fi
temporary=$(mktemp "$profile.XXXXXX") written=
trap 'rm -f "$temporary"; [[ ! $written ]] || as_user rm -f "$written"' EXIT

cat >"$temporary" <<'SH'
# Written by the code-server setup: PATH of the Neuron and EFA tools, if the image has them.
for directory in /opt/amazon/openmpi/bin /opt/amazon/efa/bin /opt/aws/neuron/bin; do
  case ":$PATH:" in
    *":$directory:"*) ;;
    *) [ ! -d "$directory" ] || PATH="$directory:$PATH" ;;
  esac
done
unset directory
export PATH
SH
sh -n "$temporary"
chmod 644 "$temporary"

written=$(as_user mktemp "$bashrc.XXXXXX")
{
  [[ ! -f $bashrc ]] || as_user sed "/^$begin\$/,/^$end\$/d" "$bashrc"
  echo "$begin"
  cat <<'BASH'
. /etc/profile.d/neuron-tools.sh

# neuron-venv lists the image's Neuron environments; neuron-venv NAME activates one.
neuron-venv() {
  local venv=/opt/aws_neuronx_venv_${1-}
  if [ -n "${1-}" ] && [ -f "$venv/bin/activate" ]; then
    . "$venv/bin/activate"
  else
    compgen -G '/opt/aws_neuronx_venv_*' | sed 's/.*_venv_//' | sort -V
  fi
}

# A new terminal activates the newest PyTorch environment, or else the newest of any kind. To choose another one, or
# "none", set NEURON_VENV above this block. Terminals inherit VIRTUAL_ENV from the editor, but not its functions and
# prompt.
if [ -f "${VIRTUAL_ENV-}/bin/activate" ]; then
  . "$VIRTUAL_ENV/bin/activate"
elif [ "${NEURON_VENV-}" != none ]; then
  : "${NEURON_VENV:=$(compgen -G '/opt/aws_neuronx_venv_pytorch_*[0-9]' | sed 's/.*_venv_//' | sort -V | tail -n 1)}"
  : "${NEURON_VENV:=$(neuron-venv | tail -n 1)}"
  [ -z "$NEURON_VENV" ] || neuron-venv "$NEURON_VENV"
fi
BASH
  echo "$end"
} | as_user tee "$written" >/dev/null
as_user bash -n "$written"
as_user chmod 644 "$written"

mv "$temporary" "$profile"
as_user mv --no-target-directory "$written" "$bashrc"

echo "shells of $USER find the Neuron tools; $(compgen -G '/opt/aws_neuronx_venv_*' | wc -l) Neuron environments on this host" >&2
