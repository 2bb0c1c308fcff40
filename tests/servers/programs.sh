# Programs from the Python packages in programs.lock, kept in XDG_CACHE_HOME; sourced behind lib.sh.

LOCK=$(dirname "${BASH_SOURCE[0]}")/programs.lock

# locked PACKAGE: its lines of programs.lock.
locked() { sed -n "/^$1==/,/[^\\\\]\$/p" "$LOCK"; }

# kept PACKAGE: the folder of the version in programs.lock.
kept() {
    local version
    version=$(locked "$1" | sed -n 's/.*==\([^ ]*\).*/\1/p')
    echo "${XDG_CACHE_HOME:-$HOME/.cache}/authotron-tests/$1-$version"
}

# program PACKAGE NAME: the path of the program.
program() { find "$(kept "$1")" -name "$2" -type f -size +10M -perm -u+x; }

# program_install PACKAGE: repeating it is cheap.
program_install() {
    local folder
    folder=$(kept "$1")
    [ -d "$folder" ] && return
    say "installing $1"
    mkdir -p "$(dirname "$folder")"
    locked "$1" >"$folder.$$.txt"
    PIP_ROOT_USER_ACTION=ignore fetch python3 -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        --target "$folder.$$" -r "$folder.$$.txt" >&2
    rm "$folder.$$.txt"
    mv "$folder.$$" "$folder"
}
