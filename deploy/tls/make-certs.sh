#!/usr/bin/env bash
# Makes a CA of the cluster's own, and one certificate for its scheduler, workers and clients:
#   deploy/tls/make-certs.sh FOLDER NAME_OR_IP...     such as: tls scheduler node1.example.com 10.0.0.7
#   deploy/tls/make-certs.sh --force FOLDER NAME_OR_IP...     in place of those that are there
# FOLDER gets ca.pem, cert.pem and key.pem, which every process needs, and ca-key.pem, which none does.
# Whoever holds key.pem can run code on the workers.
set -euo pipefail
umask 077 # all files are 600

force=false
if [[ ${1:-} == --force ]]; then
  force=true
  shift
fi
if (($# < 2)); then
  echo "usage: make-certs.sh [--force] FOLDER NAME_OR_IP..." >&2
  exit 2
fi
folder=$1
shift
days=${DAYS:-365}

if [[ $force == false && (-e $folder/ca.pem || -e $folder/ca-key.pem) ]]; then
  echo "$folder has a CA already; --force makes a new one, and running processes no longer trust others" >&2
  exit 2
fi

names=()
for name in "$@"; do
  if [[ $name == *:* || $name =~ ^[0-9.]+$ ]]; then names+=("IP:$name"); else names+=("DNS:$name"); fi
done

mkdir -p "$folder"
work=$(mktemp -d "$folder/.new.XXXXXX") # so that a failure leaves what was there
trap 'rm -rf "$work"' EXIT
cat >"$work/openssl.cnf" <<END
[req]
distinguished_name = subject
prompt = no
[subject]
CN = dkmeans
[ca]
basicConstraints = critical, CA:true, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[node]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = $(IFS=,; echo "${names[*]}")
END

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }
new_key "$work/ca-key.pem"
openssl req -x509 -new -config "$work/openssl.cnf" -extensions ca -subj "/CN=dkmeans CA" -days "$days" \
  -key "$work/ca-key.pem" -out "$work/ca.pem"
new_key "$work/key.pem"
openssl req -new -config "$work/openssl.cnf" -key "$work/key.pem" -out "$work/request.pem"
openssl x509 -req -in "$work/request.pem" -CA "$work/ca.pem" -CAkey "$work/ca-key.pem" -CAcreateserial \
  -extfile "$work/openssl.cnf" -extensions node -days "$days" -out "$work/cert.pem" 2>/dev/null

for file in ca-key.pem ca.pem key.pem cert.pem; do mv "$work/$file" "$folder/$file"; done
echo "$folder/ca.pem, cert.pem, key.pem: $*, for $days days"
