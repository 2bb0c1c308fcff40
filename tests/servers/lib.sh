# Shared by the server scripts beside it; sourced, never run.
#
#   NAME install DIR      prepare the server under DIR; repeating it is cheap
#   NAME start DIR PORT   start it on 127.0.0.1, wait until it answers, print its address
#   NAME stop DIR         stop it; repeating it is harmless
#
# Each process leaves DIR/NAME.pid and DIR/NAME.log.

set -euo pipefail

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
NAME=$(basename "$0")

say() { printf '%s: %s\n' "$NAME" "$*" >&2; }
die() { say "$*"; exit 1; }

# fetch COMMAND...: a command that downloads; a package index may be unreachable for a moment, so five times at most.
fetch() {
    local attempt
    for attempt in 1 2 3 4 5; do
        "$@" && return
        say "attempt $attempt failed: $*"
        sleep "$attempt"
    done
    return 1
}

# need_debian COMMAND PACKAGE...: install only what is missing, and only as somebody who may.
need_debian() {
    local command=$1 root=()
    shift
    command -v "$command" >/dev/null && return
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || die "needs $command; as root: apt-get install $*"
        root=(sudo -n)
    fi
    say "installing $*"
    fetch "${root[@]}" apt-get -qq update >&2
    fetch "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >&2
}

# A recycled process number is not ours: ours runs in DIR.
running() {
    local pid
    [ -s "$DIR/$NAME.pid" ] || return 1
    pid=$(cat "$DIR/$NAME.pid")
    [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$DIR" ]
}

# launch COMMAND...: in the background, in a process group of its own.
launch() {
    command -v "$1" >/dev/null || die "$1 is not there: run '$NAME install $DIR' first"
    : >"$DIR/$NAME.log"
    (cd "$DIR" && exec setsid "$@" >>"$DIR/$NAME.log" 2>&1 </dev/null) &
    echo $! >"$DIR/$NAME.pid"
    until running || ! kill -0 $! 2>/dev/null; do sleep 0.02; done
}

# ready COMMAND...: until the command succeeds, the process is gone, or READY_SECONDS are over.
ready() {
    local deadline=$(($(date +%s) + ${READY_SECONDS:-120}))
    until "$@" >/dev/null 2>&1; do
        # While a process executes another program, the kernel may hide its directory for a moment.
        running || { sleep 0.2; running; } || { tail -n 20 "$DIR/$NAME.log" >&2; rm -f "$DIR/$NAME.pid"; die "ended while starting"; }
        [ "$(date +%s)" -lt "$deadline" ] || { tail -n 20 "$DIR/$NAME.log" >&2; halt; die "did not answer in time"; }
        sleep 0.1
    done
}

# alive GROUP: whether a process group has a process that runs; a process that has ended may wait for its parent.
alive() {
    local stat fields
    for stat in /proc/[0-9]*/stat; do
        read -r fields 2>/dev/null <"$stat" || continue
        read -ra fields <<<"${fields##*) }"
        [ "${fields[2]}" != "$1" ] || [ "${fields[0]}" = Z ] || return 0
    done
    return 1
}

halt() {
    local pid deadline
    if running; then
        pid=$(cat "$DIR/$NAME.pid")
        kill -TERM -- "-$pid" 2>/dev/null || kill -TERM "$pid" 2>/dev/null || true
        deadline=$(($(date +%s) + ${STOP_SECONDS:-60}))
        while alive "$pid"; do
            [ "$(date +%s)" -lt "$deadline" ] || { kill -KILL -- "-$pid" 2>/dev/null || true; break; }
            sleep 0.1
        done
    fi
    rm -f "$DIR/$NAME.pid"
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

main() {
    local verb=${1:-}
    [ $# -ge 2 ] || die "usage: $NAME install DIR | $NAME start DIR PORT | $NAME stop DIR"
    mkdir -p "$2"
    DIR=$(cd "$2" && pwd -P)
    case $verb in
    install) server_install ;;
    start)
        PORT=${3:?a port, please}
        running && die "already running as $(cat "$DIR/$NAME.pid")"
        listening "$PORT" && die "port $PORT is taken"
        server_start
        ;;
    stop) halt ;;
    *) die "unknown verb $verb" ;;
    esac
}
