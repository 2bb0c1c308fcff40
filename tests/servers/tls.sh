# Certificates for the server scripts beside it; sourced, never run.

# DIR/tls: an authority (ca.pem) and a certificate of servers and clients for localhost and 127.0.0.1 (server.pem, server.key).
certificates() {
    local tls=$DIR/tls
    [ -s "$tls/server.pem" ] && return
    command -v openssl >/dev/null || die "needs openssl (Debian package openssl)"
    mkdir -p "$tls"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
        -keyout "$tls/ca.key" -out "$tls/ca.pem" -subj "/CN=authotron test authority" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
        -keyout "$tls/server.key" -out "$tls/server.csr" -subj "/CN=localhost" 2>/dev/null
    printf '%s\n' "subjectAltName=DNS:localhost,IP:127.0.0.1" extendedKeyUsage=serverAuth,clientAuth \
        basicConstraints=critical,CA:FALSE >"$tls/extensions"
    openssl x509 -req -in "$tls/server.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -CAcreateserial \
        -days 3650 -extfile "$tls/extensions" -out "$tls/server.pem" 2>/dev/null
    rm -f "$tls/server.csr" "$tls/extensions"
}
