#!/bin/sh
# The guest has no TypeScript compiler: tsx runs what was compiled from the .ts file before the boot.
options=
while [ $# -gt 0 ]; do
  case $1 in
    -*) options="$options $1"; shift ;;
    *) break ;;
  esac
done
if [ $# -eq 0 ]; then
  echo 'tsx: name a .ts file to run' >&2
  exit 2
fi
compiled=${1%.ts}.js
if [ ! -f "$compiled" ]; then
  echo "tsx: the guest has no $compiled; only examples/*.ts are compiled for it" >&2
  exit 1
fi
shift
exec node $options "$compiled" "$@"
