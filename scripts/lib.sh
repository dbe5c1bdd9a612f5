# Shared by the scripts of this folder; to be sourced.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${BOSUN_CACHE:-$HOME/.cache/bosun}

say() { printf '\n\033[1m==> %s\033[0m\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Debian packages by what needs them.
build_packages=(build-essential pkg-config libssl-dev)
run_packages=(postgresql nats-server ruby runc debootstrap iproute2 iptables e2fsprogs util-linux openssh-client curl
  ca-certificates xz-utils procps jq)

# ensure_packages NAME...: installs those that are missing.
ensure_packages() {
  local missing=() name
  for name in "$@"; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "Installing ${missing[*]}"
  local sudo=
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "packages are missing and this is not root. Run: apt-get install ${missing[*]}"
    sudo=sudo
  fi
  # The package of the database would start a cluster of its own; bosun makes one of its own.
  if printf '%s\n' "${missing[@]}" | grep -qx postgresql && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    $sudo mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
  fi
  $sudo apt-get update -q >/dev/null
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -q -y --no-install-recommends -o Dpkg::Options::=--force-confold "${missing[@]}" >/dev/null
}

ensure_rust() {
  command -v cargo >/dev/null || [ ! -f "$HOME/.cargo/env" ] || . "$HOME/.cargo/env"
  command -v cargo >/dev/null ||
    die "cargo is not there, and Debian's Rust is too old for bosun. Install Rust $(rust_version) or later with rustup (https://rustup.rs), then run this again"
  local have
  have=$(rustc --version | cut -d' ' -f2)
  [ "$(printf '%s\n%s\n' "$(rust_version)" "$have" | sort -V | head -1)" = "$(rust_version)" ] ||
    die "Rust $have is too old: bosun needs $(rust_version) or later. Run: rustup update stable"
}

rust_version() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -1; }

# The first line of a command's answer that holds what is asked for, or nothing.
release_version() { # FOLDER: a version that changes exactly when the folder's content does
  (cd "$1" && find . -type f -not -path './.dev_builds/*' -not -path './dev_releases/*' -print0 | sort -z |
    xargs -0 sha256sum | sha256sum | cut -c1-12)
}
