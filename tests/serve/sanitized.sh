#!/usr/bin/env bash
# The server under sanitizers: builds wan-serve and its tests with them and runs these, and the tests of tests/serve/clients
# (stock clients without and with a key, kills, the page, the contract). Fails where a test fails or a sanitizer reports.
#   sanitized.sh [OPTION...] address|thread [NAME...]
#   address       AddressSanitizer with LeakSanitizer, and UndefinedBehaviorSanitizer: preset asan
#   thread        ThreadSanitizer: preset tsan
#   NAME          serve_tests or a test of tests/serve/clients (test_fal, ...); all where none is named
#   --no-build    with what is built
#   --worker FILE the wan-engine that renders (build/release/tools/wan-engine, which is built, too)
# Workers have no sanitizer: libtorch is built without them. What sanitizers say lies in build/PRESET/sanitized/reports, one
# file for each process; GTEST_FILTER chooses among serve_tests, and WAN_KILLS and WAN_SCREENSHOTS mean what they do elsewhere.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
say() { printf '== %s\n' "$*" >&2; }
fail() { printf 'sanitized: %s\n' "$*" >&2; exit 2; }

build=yes worker= kind=
while [ $# -gt 0 ] && [ -z "$kind" ]; do
  case $1 in
    --no-build) build=;;
    --worker) [ $# -ge 2 ] || fail "--worker needs a file"; worker=$2; shift;;
    address|thread) kind=$1;;
    *) fail "address or thread is wanted, got '$1'";;
  esac
  shift
done
case $kind in
  address) preset=asan mark=__asan_init;;
  thread) preset=tsan mark=__tsan_init;;
  *) fail "address or thread is wanted";;
esac
all=(serve_tests)
for file in "$root"/tests/serve/clients/test_*.py; do
  name=${file##*/}
  all+=("${name%.py}")
done
names=("$@")
[ $# -gt 0 ] || names=("${all[@]}")
for name in "${names[@]}"; do
  case " ${all[*]} " in *" $name "*) ;; *) fail "'$name' is none of: ${all[*]}";; esac
done
# The test skips itself without a browser: all green would say that the page was looked at.
case " ${names[*]} " in
  *" test_page "*) command -v chromium >/dev/null && command -v chromedriver >/dev/null ||
    fail "test_page wants Debian's chromium and chromium-driver; install them, or name the tests to be run without it";;
esac

folder=$root/build/$preset release=$root/build/release
programs=$folder/sanitized/programs reports=$folder/sanitized/reports
targets=(wan-serve)
case " ${names[*]} " in *" serve_tests "*) targets+=(serve_tests);; esac
if [ "$build" ]; then
  [ "$worker" ] || "$root/run" --preset release build wan-engine || exit 1
  "$root/run" --preset "$preset" build "${targets[@]}" || exit 1
fi
worker=${worker:-$release/tools/wan-engine}
[ -x "$worker" ] || fail "$worker is no program; ./run --preset release build wan-engine makes it"
instrumented() { [ -x "$1" ] && grep -q "$mark" "$1" || fail "$1 is not there, or has no $kind sanitizer; build it without --no-build"; }

# wan-serve starts the worker that lies beside it, by its own name behind links: a file, not a link.
rm -rf "$folder/sanitized"
mkdir -p "$programs" "$reports"
instrumented "$folder/tools/wan-serve"
ln "$folder/tools/wan-serve" "$programs/wan-serve" 2>/dev/null || cp "$folder/tools/wan-serve" "$programs/wan-serve" || exit 1
ln -s "$(readlink -f "$worker")" "$programs/wan-engine" || exit 1

# A report ends its process with an exit status that is no other's, and is in a file whatever becomes of that.
common=log_path=$reports/report:exitcode=66:print_suppressions=0
export ASAN_OPTIONS=$common:detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1
export UBSAN_OPTIONS=$common:print_stacktrace=1:halt_on_error=1
export LSAN_OPTIONS=print_suppressions=0
export TSAN_OPTIONS=$common:halt_on_error=0:second_deadlock_stack=1:history_size=4
export WAN_TOOLS=$programs OMP_WAIT_POLICY=passive

failed=()
clients=()
for name in "${names[@]}"; do
  if [ "$name" = serve_tests ]; then
    instrumented "$folder/tests/serve_tests"
    say "serve_tests ($kind)"
    "$folder/tests/serve_tests" --gtest_brief=0 || failed+=("serve_tests (exit status $?)")
  else
    clients+=("$name")
  fi
done
if [ ${#clients[@]} -gt 0 ]; then
  say "stock clients ($kind): ${clients[*]}"
  python3 "$root/tests/serve/clients/run.py" "$release" "${clients[@]}" || failed+=("clients (above)")
fi

shopt -s nullglob
found=("$reports"/*)
for report in "${found[@]}"; do
  printf '\n== %s\n' "$report" >&2
  head -c 20000 "$report" >&2
done
[ ${#found[@]} -eq 0 ] || failed+=("${#found[@]} processes with reports of the sanitizer, in $reports")
if [ ${#failed[@]} -gt 0 ]; then
  for one in "${failed[@]}"; do say "failed: $one"; done
  exit 1
fi
say "clean with the $kind sanitizer: ${names[*]}"
