#!/bin/sh
# Turns a backup of db-manager into files, without db-manager: needs unzip, and age for an encrypted archive.
#
#   sh recover.sh <archive.zip or archive.zip.age> <new folder> [identity file]
#
# Debian and Ubuntu: apt-get install unzip age sqlite3
set -eu
umask 077

fail() {
  echo "Error: $1" >&2
  exit 1
}

[ $# -ge 2 ] && [ $# -le 3 ] || fail "Usage: sh recover.sh <archive.zip or archive.zip.age> <new folder> [identity file]"
archive=$1
folder=$2
[ -f "$archive" ] || fail "$archive is not there."
[ ! -e "$folder" ] || fail "$folder is already there. Name a folder that does not exist yet."
command -v unzip >/dev/null || fail "unzip is not installed."
mkdir -p "$folder"

case $(head -c 21 "$archive") in
age-encryption.org/v1)
  command -v age >/dev/null || fail "The archive is encrypted, and age is not installed."
  plain=$folder/.decrypted.zip
  trap 'rm -f "$plain"' EXIT
  # Without an identity file age asks for the passphrase.
  if [ $# -eq 3 ]; then age -d -i "$3" -o "$plain" "$archive"; else age -d -o "$plain" "$archive"; fi
  archive=$plain
  ;;
esac

unzip -q "$archive" -d "$folder" || fail "The archive cannot be unpacked whole."
echo "The files are in $folder."
if [ -f "$folder/database.sqlite3" ]; then
  if command -v sqlite3 >/dev/null; then
    [ "$(sqlite3 "$folder/database.sqlite3" 'PRAGMA integrity_check')" = ok ] || fail "The database is damaged."
    echo "The database is intact: $folder/database.sqlite3"
  else
    echo "The database is $folder/database.sqlite3 (sqlite3 is not installed, so it was not checked)."
  fi
fi
