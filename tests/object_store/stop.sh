#!/usr/bin/env bash
# Stop what start.sh started in STATE, the monitor last: the others wait for it otherwise. A process is ended
# if its pid file lies there and its command names that folder; the number may be another process's by now.
set -euo pipefail

cd -P "${STATE:?names the folder that was given to start.sh}"

ours() {
  grep -qaF -- "$PWD/ceph.conf" "/proc/$1/cmdline" 2> /dev/null
}

for name in client.rgw osd.0 mon.a; do
  pid=$(cat "run/$name.pid" 2> /dev/null) || continue
  ours "$pid" || continue
  kill -s TERM "$pid" || continue
  kill -s CONT "$pid" || continue # it may have been paused
  for _ in {1..30}; do
    ours "$pid" || continue 2
    sleep 0.1
  done
  kill -s KILL "$pid" || true
done
