#!/bin/sh
# Runs a compiler and keeps what it says (ptxas -v: registers, spills) beside the object file, for the resource test.
object=
previous=
for argument; do
  [ "$previous" = -o ] && object=$argument
  previous=$argument
done
"$@" 2>"$object.report"
status=$?
[ $status -eq 0 ] || cat "$object.report" >&2
exit $status
