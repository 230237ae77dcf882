# SPDX-License-Identifier: MIT
# What the set-up scripts share: how they speak, and how a thing is made once and kept in the cache.
# shellcheck shell=sh

# Standard output carries the answer of a script, so everything else is said on standard error.
say() {
    echo "${0##*/}: $*" >&2
}

die() {
    say "$*"
    exit 1
}

setup=$(cd "$(dirname "$0")" && pwd)
export setup

# cache_folder: prints the folder that everything made is kept in. `make clean` leaves it alone.
cache_folder() {
    folder=${FAA_CACHE:-${XDG_CACHE_HOME:-${HOME:?is not set}/.cache}/fastapi-auto-agent}
    mkdir -p "$folder" && cd "$folder" && pwd
}

# short_hash: prints the first digits of the SHA-256 of standard input, enough to key a cache by.
short_hash() {
    sha256sum | cut -c1-16
}

# begin FOLDER: succeeds with a new, empty FOLDER where the caller has to make its contents, and
# fails where they are complete already. From there to finish a lock is held, so that of two scripts
# at once one makes and the other waits. What an interrupted script left lacks the mark and is
# thrown away. The contents are made in place, not moved: a virtual environment holds its own path.
begin() {
    [ ! -e "$1/.complete" ] || return 1
    mkdir -p "${1%/*}"
    exec 9>"$1.lock"
    if ! flock -n 9; then
        say "waiting for another process that makes $1"
        flock 9
    fi
    [ ! -e "$1/.complete" ] || return 1
    rm -rf "$1"
    mkdir "$1" || die "cannot make $1"
}

# finish FOLDER: marks what begin started as complete.
finish() {
    : >"$1/.complete"
    exec 9>&-
}
