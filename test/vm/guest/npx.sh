#!/bin/sh
# The guest has no npm: npx runs tsx and the commands of the packages that are installed in /app.
while [ $# -gt 0 ]; do
  case $1 in
    -*) shift ;;
    *) break ;;
  esac
done
if [ "$1" = tsx ]; then
  exec "$@"
fi
if [ -z "$1" ] || [ ! -e "/app/node_modules/.bin/$1" ]; then
  echo "npx: the guest has no command \"$1\"" >&2
  exit 127
fi
command=/app/node_modules/.bin/$1
shift
exec "$command" "$@"
