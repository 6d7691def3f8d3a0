#!/bin/sh
# `db-manager` within the container: gives up the rights of root, if it has them, then runs the command. The process, the
# health check and `docker exec` all come by here, so that none leaves files of root in /data.
set -eu

own_uid="$(id -u)"
uid="${PUID:-1000}"
gid="${PGID:-$uid}"

refuse() {
  printf 'CONFIG_INVALID: %s\n%s\n' "$1" "$2" >&2
  exit 20
}

is_account() {
  case "$1" in
    '' | 0* | *[!0-9]*) return 1 ;;
  esac
  [ "${#1}" -le 9 ]
}

is_account "$uid" || refuse 'PUID is not the number of an account other than root.' "Set it to what 'id -u' prints."
is_account "$gid" || refuse 'PGID is not the number of a group other than root.' "Set it to what 'id -g' prints."

if [ "$own_uid" = 0 ]; then
  # A folder of another account, as after a change of PUID. Only what is this container's own: archives may lie in a
  # folder that others use too.
  [ "$(stat -c %u:%g /data)" = "$uid:$gid" ] || chown -R "$uid:$gid" /data
  if [ -z "$(ls -A /backups)" ] && [ "$(stat -c %u:%g /backups)" != "$uid:$gid" ]; then
    # Some disks have no owners, or do not let root change them. The server says so if it cannot write there.
    chown "$uid:$gid" /backups || printf 'Warning: /backups could not be given to %s.\n' "$uid:$gid" >&2
  fi
  exec setpriv --reuid "$uid" --regid "$gid" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all \
    node /app/dist/cli.js "$@"
fi

if [ -n "${PUID:-}" ] && [ "$PUID" != "$own_uid" ]; then
  refuse "PUID is $PUID, but the container runs as $own_uid, which cannot change that." \
    "Set user: \"$uid:$gid\" instead of PUID; or let the container start as root, with user: \"0:0\"."
fi
exec node /app/dist/cli.js "$@"
