#!/bin/sh
# certificates.sh - certificates for tests, of a CA of their own.
#
#   sh tests/certificates.sh DIR
#
# Makes in DIR, each NAME.pem with NAME.key: ca, good (localhost, 127.0.0.1),
# other (other.example, *.wild.example), expired (as good, until yesterday),
# self (as good, signed by itself) and client (of the CA, for clients).
set -eu

cd "$1"

# openssl tells much on stderr; of a failure it is all there is to see.
quietly() {
  "$@" 2>openssl.log || { cat openssl.log >&2; exit 1; }
}

# make_key NAME
make_key() {
  quietly openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"
}

# OpenSSL from 3.4 on refuses days below 0, and has words for both dates.
until_yesterday() {
  if openssl x509 -help 2>&1 | grep -q -e ' -not_before'; then
    date -u -d yesterday '+-not_before 20200101000000Z -not_after %Y%m%d%H%M%SZ'
  else
    echo "-days -1"
  fi
}

# sign NAME VALIDITY NAMES: NAME.pem, signed by the CA.
sign() {
  make_key "$1"
  printf 'subjectAltName=%s\nbasicConstraints=critical,CA:false\n' "$3" >ext
  quietly openssl req -new -key "$1.key" -subj "/CN=$1" -out req
  # shellcheck disable=SC2086
  quietly openssl x509 -req -in req -CA ca.pem -CAkey ca.key -CAcreateserial \
    $2 -extfile ext -out "$1.pem"
}

# sign_itself NAME EXTENSION
sign_itself() {
  make_key "$1"
  quietly openssl req -x509 -new -key "$1.key" -subj "/CN=$1" -days 30 \
    -addext "$2" -out "$1.pem"
}

HERE=DNS:localhost,IP:127.0.0.1
sign_itself ca keyUsage=critical,keyCertSign
sign good "-days 30" "$HERE"
sign other "-days 30" 'DNS:other.example,DNS:*.wild.example'
sign expired "$(until_yesterday)" "$HERE"
sign_itself self "subjectAltName=$HERE"
sign client "-days 30" DNS:client.example
rm -f req ext ca.srl openssl.log
