# shellcheck shell=bash disable=SC2034
# What start.sh and stop.sh share: the hosts, the settings, and how to run a command on a host.
set -euo pipefail

if (($# != 1)) || [[ ! -r $1 ]]; then
  echo "usage: $0 hosts.txt" >&2
  exit 2
fi
mapfile -t hosts < <(grep -Ev '^[[:space:]]*(#|$)' "$1")
if ((${#hosts[@]} == 0)); then
  echo "$1 names no host" >&2
  exit 2
fi

run=${RUN:-$HOME/.dkmeans} # on each host: logs, PID files, and what workers spill

on() { # HOST COMMAND...
  local host=$1
  shift
  if [[ $host == localhost ]]; then
    "$@"
  else
    ssh -n -o BatchMode=yes "$host" "$(printf '%q ' "$@")"
  fi
}
