# Sourced by the other scripts: makes ready what they need, and says nothing when everything is there.
#
#   prepare run    what the daemon needs
#   prepare dev    what the gate needs too
#
# Debian packages are installed when they are missing (as root). .venv holds exactly the locked versions: it is made anew
# when a lock file changed or its interpreter is gone, else used as it is, without the network.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
VENV=$ROOT/.venv
PACKAGES_RUN="python3-venv python3-dev gcc libc6-dev pkg-config libsystemd-dev"
PACKAGES_DEV="git strace fuse3 libfaketime systemd procps iproute2 tinyproxy-bin"

say() { printf '%s\n' "$*" >&2; }

prepare() {
    local kind=$1 packages=$PACKAGES_RUN
    [ "$kind" = run ] || packages="$packages $PACKAGES_DEV"
    exec {LOCK}>"$ROOT/.setup.lock"
    flock "$LOCK" # two runs at once would make the same folder
    system_packages $packages
    environment "$kind"
    exec {LOCK}>&-
    PATH=$VENV/bin:$PATH
    export PATH VIRTUAL_ENV=$VENV
}

system_packages() {
    command -v dpkg-query >/dev/null || { say "setup: no Debian here; expecting the counterparts of: $*"; return 0; }
    local missing=() package
    for package in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    if [ "$(id -u)" -ne 0 ]; then
        say "setup: packages are missing. As root: apt-get install --no-install-recommends ${missing[*]}"
        return 1
    fi
    say "setup: installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get update
    quietly apt-get install -y --no-install-recommends "${missing[@]}"
}

environment() {
    local kind=$1 python stamp
    stamp=$({ cat requirements-build.lock requirements.lock requirements-dev.lock; echo "$VENV"; } | sha256sum | cut -c1-16)
    # pip fails to load when the interpreter beneath the folder was replaced by another version.
    "$VENV/bin/python" -c 'import pip' 2>/dev/null || rm -rf "$VENV"
    if [ ! -e "$VENV/.locked-dev-$stamp" ] && [ ! -e "$VENV/.locked-$kind-$stamp" ]; then
        # Nothing of another lock may stay behind; what the daemon needs is a part of what the gate needs.
        if [ ! -e "$VENV/.locked-run-$stamp" ]; then
            python=$(interpreter)
            rm -rf "$VENV"
            quietly "$python" -m venv "$VENV"
        fi
        say "setup: installing the locked Python packages"
        locked requirements-build.lock
        if [ "$kind" = dev ]; then locked requirements-dev.lock; else locked requirements.lock; fi
        touch "$VENV/.locked-$kind-$stamp"
    fi
    stamp=$(sha256sum pyproject.toml | cut -c1-16)
    if [ ! -e "$VENV/.project-$stamp" ]; then
        quietly "$VENV/bin/python" -m pip install --no-deps --no-index --no-build-isolation --editable .
        touch "$VENV/.project-$stamp"
    fi
}

# The system's own interpreter comes first: the service runs on it, and it is older than what developers have, so that
# faults which newer ones hide are found here.
interpreter() {
    local candidate
    for candidate in /usr/bin/python3 python3.11 python3 python3.12 python3.13; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    say "setup: Python 3.11 or newer is needed"
    return 1
}

# Why no build isolation: pip builds a source package in a folder of its own with whatever versions are newest; here the
# locked setuptools and hatchling do it. Only systemd-python is built, since it is compiled against the host's libsystemd.
locked() {
    quietly "$VENV/bin/python" -m pip install --require-hashes --no-deps --no-build-isolation \
        --only-binary :all: --no-binary systemd-python -r "$1"
}

quietly() {
    local output
    output=$("$@" 2>&1) || { say "$output"; say "setup: failed: $*"; return 1; }
}
