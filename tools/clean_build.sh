#!/usr/bin/env bash
# Builds the core (kernels, models, wan-bench and the tests for a card) on systems that nobody has used, for one architecture,
# without ccache, and from a checkout that was used elsewhere: its .deps is another Python's and its build folders are
# configured for another path. What was built is started. Needs root, debootstrap and some 8 GB a system.
#   clean_build.sh [OPTION...] SYSTEM...
#   SYSTEM             bookworm, trixie (Debian 12, 13), noble (Ubuntu 24.04)
#   --folder DIR       where the systems lie, and stay for the next call (/var/tmp/clean-build)
#   --architecture A   as CMake writes it (86-real)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
say() { printf '== %s\n' "$*" >&2; }
fail() { printf 'clean_build: %s\n' "$*" >&2; exit 2; }

folder=/var/tmp/clean-build architecture=86-real systems=()
while [ $# -gt 0 ]; do
  case $1 in
    --folder|--architecture) [ $# -ge 2 ] || fail "$1 needs a value";;&
    --folder) folder=$2; shift 2;;
    --architecture) architecture=$2; shift 2;;
    bookworm|trixie|noble) systems+=("$1"); shift;;
    *) fail "a system is bookworm, trixie or noble, got $1";;
  esac
done
[ ${#systems[@]} -gt 0 ] || fail "which system: bookworm, trixie, noble"
[ "$(id -u)" = 0 ] || fail "debootstrap and chroot need root"
command -v debootstrap >/dev/null || fail "debootstrap is missing; its package has the same name"

# What is unpacked counts only when it is whole.
unpack() { # SYSTEM
  local mirror=http://deb.debian.org/debian script= options=()
  [ "$1" != noble ] || { mirror=http://archive.ubuntu.com/ubuntu; options=(--components=main,universe); }
  rm -rf "$folder/$1"
  mkdir -p "$folder"
  # Debian 12 has neither Ubuntu's keys nor a script for its newest: all of them are the one of gutsy.
  [ "$1" != noble ] || [ -e /usr/share/keyrings/ubuntu-archive-keyring.gpg ] || options+=(--no-check-gpg)
  [ "$1" != noble ] || [ -e /usr/share/debootstrap/scripts/noble ] || script=/usr/share/debootstrap/scripts/gutsy
  debootstrap --variant=minbase "${options[@]}" "$1" "$folder/$1" $mirror $script >"$folder/$1.log" 2>&1 ||
    fail "debootstrap failed: $folder/$1.log"
  touch "$folder/$1/unpacked"
}

build_in() { # SYSTEM
  local system=$folder/$1
  [ -e "$system/unpacked" ] || { say "$1: unpacking"; unpack "$1"; }
  cp /etc/resolv.conf "$system/etc/resolv.conf"
  rm -rf "$system/checkout"
  mkdir "$system/checkout"
  git -C "$root" ls-files -z --cached --others --exclude-standard | tar -C "$root" --null -T - -cf - | tar -C "$system/checkout" -xf -
  # Used elsewhere: a virtual environment of a Python that is not here, and a cache of another path.
  mkdir -p "$system/checkout/.deps/venv/bin" "$system/checkout/build/gpu"
  ln -s /usr/bin/python3.99 "$system/checkout/.deps/venv/bin/python3"
  printf '#!/home/other/.deps/venv/bin/python3\n' >"$system/checkout/.deps/venv/bin/pip"
  chmod +x "$system/checkout/.deps/venv/bin/pip"
  touch "$system/checkout/.deps/light-2.11.0"
  printf 'CMAKE_CACHEFILE_DIR:INTERNAL=%s\nCMAKE_HOME_DIRECTORY:INTERNAL=%s\nCMAKE_GENERATOR:INTERNAL=Unix Makefiles\n' \
    /home/other/wan-infer/build/gpu /home/other/wan-infer >"$system/checkout/build/gpu/CMakeCache.txt"
  # Certificates of a company's network.
  local certificates=${PIP_CERT:-${SSL_CERT_FILE:-}}
  [ -z "$certificates" ] || cp "$certificates" "$system/certificates.pem"
  say "$1: building for $architecture"
  # A mount namespace of its own: nothing stays mounted, however this ends.
  unshare --mount --fork --pid bash -c '
    set -e
    mount -t proc proc "$1/proc"
    mount --bind /dev "$1/dev"
    exec chroot "$1" env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
      ARCHITECTURE="$2" ${4:+PIP_CERT=/certificates.pem} bash -c "$3"
  ' - "$system" "$architecture" '
    set -e
    . /etc/os-release
    cd /checkout
    ./run setup --all
    apt-get remove -y -qq ccache >/dev/null
    export PATH=/checkout/.deps/venv/bin:$PATH
    # Without a card, setup installs the light libtorch, which has no code for one: all but that is linked.
    export WAN_TORCH_CUDA=OFF
    tools/gpu_check.sh --build-only --seconds 14400 --architectures "$ARCHITECTURE" /tmp/out
    echo "$PRETTY_NAME, $(g++ --version | head -n 1), $(cmake --version | head -n 1)"
    build/gpu/tools/wan-bench --help >/dev/null
    build/gpu/tests/gpu_tests --gtest_brief=1
  ' "$certificates"
}

for system in "${systems[@]}"; do
  begun=$SECONDS
  build_in "$system"
  say "$system: built and started in $((SECONDS - begun)) s"
done
