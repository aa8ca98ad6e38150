#!/usr/bin/env bash
# Starts a scheduler on the first host of a file, and a worker for each of its lines:
#   TLS=/etc/dkmeans/tls deploy/ssh/start.sh hosts.txt
# dkmeans and the folder TLS, with ca.pem, cert.pem and key.pem, lie at the same place on every host.
# Other settings: PORT (8786), DASK (the command, where it is not in the PATH), RUN (~/.dkmeans),
# THREADS and MEMORY of each worker (else Dask shares the machine), DASHBOARD (127.0.0.1:8787).
# GPU=1 starts a worker for each GPU of a line's host, by dask-cuda, with one thread if THREADS is not given.
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

tls=${TLS:?the folder of ca.pem, cert.pem and key.pem}
port=${PORT:-8786}
dask=${DASK:-dask}
certificates=(--tls-ca-file "$tls/ca.pem" --tls-cert "$tls/cert.pem" --tls-key "$tls/key.pem")
scheduler_options=()
worker_options=(--memory-limit "${MEMORY:-auto}" ${THREADS:+--nthreads "$THREADS"})
scheduler=${hosts[0]#*@}
if [[ $scheduler == localhost ]]; then
  scheduler=127.0.0.1
  scheduler_options=(--host 127.0.0.1) # nobody else has to reach it
fi

launch() { # HOST NAME COMMAND...: in the background of HOST; its PID goes into NAME.pid
  local host=$1
  shift
  # shellcheck disable=SC2016
  on "$host" bash -c '
    umask 077
    mkdir -p "$0" && cd "$0" || exit
    if [[ -e $1.pid ]]; then echo "$0/$1.pid: it runs already; stop.sh first" >&2; exit 1; fi
    export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=true
    export DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=60s
    nohup "${@:2}" >"$1.log" 2>&1 </dev/null &
    echo "$!" >"$1.pid"' "$run" "$@"
}

launch "${hosts[0]}" scheduler "$dask" scheduler --protocol tls --port "$port" "${scheduler_options[@]}" \
  --dashboard-address "${DASHBOARD:-127.0.0.1:8787}" --scheduler-file "$run/scheduler.json" "${certificates[@]}"
for number in "${!hosts[@]}"; do
  launch "${hosts[number]}" "worker-$number" "$dask" ${GPU:+cuda} worker "tls://$scheduler:$port" \
    --name "worker-$number" "${worker_options[@]}" --no-dashboard --local-directory "$run/spill" "${certificates[@]}"
done

for _ in {1..60}; do
  if (exec 3<>"/dev/tcp/$scheduler/$port") 2>/dev/null; then
    echo "tls://$scheduler:$port"
    exit 0
  fi
  sleep 0.5
done
echo "no scheduler answers at $scheduler:$port; see $run/scheduler.log on ${hosts[0]}" >&2
exit 1
