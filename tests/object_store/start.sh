#!/usr/bin/env bash
# An S3 server for tests: Ceph's gateway over one monitor and one OSD, all on 127.0.0.1, as any user. Needs
#
#   apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common
#
# Use: STATE=folder [PORT=7480] [STORE=bluestore] ./start.sh, and STATE=folder ./stop.sh
#
#   STATE          holds everything; its former content is removed, if a start made it
#   PORT           of the gateway
#   MON_PORT       of the monitor
#   STORE          memstore: objects live in the OSD's memory; bluestore: in STATE, and outlive the OSD
#   KEY, SECRET    what the user of the gateway signs with
#   GATEWAY=no     leaves the gateway to the caller: radosgw -c STATE/ceph.conf -n client.rgw
set -euo pipefail

: "${STATE:?names the folder for everything that the server writes}"
PORT=${PORT:-7480} MON_PORT=${MON_PORT:-3300} STORE=${STORE:-memstore} GATEWAY=${GATEWAY:-yes}
KEY=${KEY:-test} SECRET=${SECRET:-secret}

if [[ -e $STATE/ceph.conf ]]; then
  "${BASH_SOURCE%/*}/stop.sh"
  rm -rf "${STATE:?}"/{ceph.conf,log,mon,monmap,osd,rgw,run}
fi
mkdir -p "$STATE"/{log,mon,osd,rgw,run}
STATE=$(cd "$STATE" && pwd -P)
export STATE
trap '[[ $? == 0 ]] || { echo "the server did not start: see $STATE/log" >&2; "${BASH_SOURCE%/*}/stop.sh"; }' EXIT

cluster=$(< /proc/sys/kernel/random/uuid)
osd=$(< /proc/sys/kernel/random/uuid)
monitor="[v2:127.0.0.1:$MON_PORT]"

# One copy of everything, no keys between the daemons, no admin sockets (their paths may not be long), and
# proposals of the monitor at once: a start makes dozens, one after the other, and each would wait a second.
cat > "$STATE/ceph.conf" << END
[global]
fsid = $cluster
mon host = $monitor
client mount timeout = 30
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
admin socket =
run dir = $STATE/run
pid file = $STATE/run/\$name.pid
log file = $STATE/log/\$name.log
mon cluster log file = $STATE/log/cluster.log

mon data = $STATE/mon
mon data avail warn = 2
mon data avail crit = 1
mon allow pool size one = true
paxos propose interval = 0.02
paxos min wait = 0.01

osd data = $STATE/osd
osd objectstore = $STORE
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
memstore device bytes = 4294967296
bluestore block size = 10737418240

rgw data = $STATE/rgw
rgw frontends = beast endpoint=127.0.0.1:$PORT tcp_nodelay=1
rgw thread pool size = 32
END

export CEPH_CONF=$STATE/ceph.conf
{
  monmaptool --create --fsid "$cluster" --addv a "$monitor" "$STATE/monmap"
  ceph-mon -c "$CEPH_CONF" -i a --mkfs --monmap "$STATE/monmap"
  ceph-mon -c "$CEPH_CONF" -i a
  ceph --connect-timeout 30 osd new "$osd" 0
  ceph-osd -c "$CEPH_CONF" -i 0 --mkfs --osd-uuid "$osd"
  ceph-osd -c "$CEPH_CONF" -i 0
  timeout 120 radosgw-admin user create --uid=test --display-name=test --access-key="$KEY" --secret-key="$SECRET"
  if [[ $GATEWAY == yes ]]; then
    radosgw -c "$CEPH_CONF" -n client.rgw
    timeout 60 bash -c "until (exec 3<> /dev/tcp/127.0.0.1/$PORT); do sleep 0.1; done" 2> /dev/null
  fi
} > "$STATE/log/start.log" 2>&1
echo "http://127.0.0.1:$PORT"
