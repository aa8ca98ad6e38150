#!/usr/bin/env bash
# Stops what start.sh has started, by the PID files on each host: deploy/ssh/stop.sh hosts.txt
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

stop() { # HOST NAME: a PID may long be another process's, so what it runs has to name our folder
  # shellcheck disable=SC2016
  on "$1" bash -c '
    file=$0/$1.pid
    [[ -e $file ]] || exit 0
    pid=$(<"$file")
    ours() { ps -ww -o args= -p "$pid" | grep -qF -- "$0/" ; }
    ours && kill "$pid"
    for _ in {1..40}; do ours || break; sleep 0.25; done
    ours && kill -KILL "$pid"
    rm -f "$file"' "$run" "$2"
}

status=0
for number in "${!hosts[@]}"; do
  stop "${hosts[number]}" "worker-$number" || status=1 # a host that does not answer keeps none of the others
done
stop "${hosts[0]}" scheduler || status=1
exit "$status"
