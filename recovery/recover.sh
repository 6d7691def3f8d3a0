#!/bin/sh
# Turns a backup of db-manager into files, without db-manager: needs unzip, and age for an encrypted archive.
#
#   sh recover.sh <archive.zip or archive.zip.age> <new folder> [identity file]
#
# An incremental backup is put together with those that it builds on: they must lie in the same folder, under their own names.
# A full backup that was made of one of them takes its place.
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
identity=${3:-}
plain=$folder/.decrypted.zip
steps=$folder/.steps
trap 'rm -rf "$plain" "$steps"' EXIT

# unpack <archive> <folder>
unpack() {
  mkdir -p "$2"
  case $(head -c 21 "$1") in
  age-encryption.org/v1)
    command -v age >/dev/null || fail "The archive is encrypted, and age is not installed."
    # Without an identity file age asks for the passphrase.
    if [ -n "$identity" ]; then age -d -i "$identity" -o "$plain" "$1"; else age -d -o "$plain" "$1"; fi
    unzip -q "$plain" -d "$2" || fail "The archive cannot be unpacked whole."
    rm -f "$plain"
    ;;
  *) unzip -q "$1" -d "$2" || fail "The archive cannot be unpacked whole." ;;
  esac
  # No archive of db-manager holds links, and what is written through one lands anywhere.
  [ -z "$(find "$2" -type l)" ] || fail "The archive is not safe: it holds links."
}

# said <folder> <part> <field>: what this archive says in a part of its metadata; empty where it has none
said() {
  sed -n '/^ "'"$2"'": {/,/^ }/s/^  "'"$3"'": "\(.*\)",*$/\1/p' "$1/backup_metadata.json" 2>/dev/null || true
}

# unpack_before <name> <checksum> <folder>: what this archive builds on, or the full backup that was made of that, which has
# another number in its name
unpack_before() {
  place=$(dirname "$archive")
  series=$(echo "$1" | sed 's/\(_backup_[0-9]\{8\}_[0-9]\{6\}\).*/\1/')
  for before in "$place/$1" "$place/$series".zip "$place/$series".zip.age "$place/$series"_[0-9]*.zip \
    "$place/$series"_[0-9]*.zip.age; do
    [ -f "$before" ] || continue
    rm -rf "$3"
    unpack "$before" "$3"
    [ "$(sha256sum <"$3/backup_metadata.json")" != "$2  -" ] || return 0
    [ "$(said "$3" consolidated metadata_sha256)" != "$2" ] || return 0
  done
  [ -f "$place/$1" ] || fail "Put $1 into the folder of $archive, and start again."
  fail "$1 is not the archive that was built on: another one has its name."
}

# number <file> <offset>: 32 bits, the lowest byte first
number() {
  set -- $(od -An -v -tu1 -j"$2" -N4 "$1")
  echo $(($1 + $2 * 256 + $3 * 65536 + $4 * 16777216))
}

# apply <delta> <database>: overwrites the pages that changed; docs/archive-format.md has the format
apply() {
  [ "$(head -c 8 "$1")" = DBMDELTA ] && [ "$(number "$1" 8)" -eq 1 ] || fail "database.delta has an unknown form."
  size=$(number "$1" 12)
  after=$(number "$1" 20)
  runs=$(number "$1" 24)
  had=$(number "$1" 16)
  [ "$size" -ge 512 ] && [ "$size" -le 65536 ] && [ $((had * size)) -eq $(($(wc -c <"$2"))) ] ||
    fail "database.delta does not fit to its database."
  # A database grows by pages that are there, whatever the header says.
  [ "$after" -le $((had + $(wc -c <"$1") / size)) ] || fail "database.delta lacks pages of the database."
  tail -c +$((33 + runs * 8)) "$1" >"$1.pages"
  taken=0
  od -An -v -tu1 -j32 -N$((runs * 8)) "$1" | xargs -n 8 | while read -r a b c d e f g h; do
    # Without a run xargs gives one empty line.
    [ -n "$a" ] || continue
    first=$((a + b * 256 + c * 65536 + d * 16777216))
    count=$((e + f * 256 + g * 65536 + h * 16777216))
    [ "$first" -ge 1 ] && [ $((first + count - 1)) -le "$after" ] || fail "database.delta has a page outside the database."
    dd if="$1.pages" of="$2" bs="$size" skip="$taken" seek=$((first - 1)) count="$count" conv=notrunc 2>/dev/null
    taken=$((taken + count))
  done
  dd if=/dev/null of="$2" bs="$size" seek="$after" count=0 2>/dev/null
  rm "$1" "$1.pages"
}

# remove_gone <step> <folder>: what the state no longer has; what lies in a folder goes before the folder
remove_gone() {
  sed -n '/^ "reproduces": {/,/^ }/{/^  "removed": \[/,/^  \]/s/^   "\(.*\)",*$/\1/p;}' "$1/backup_metadata.json" |
    sed 's/\\"/"/g' | LC_ALL=C sort -r | while read -r path; do
    case /$path/ in */../* | *//*/) fail "The archive is not safe: it removes $path." ;; esac
    case $path in */) rmdir "$2/$path" 2>/dev/null || true ;; *) rm -f "$2/$path" ;; esac
  done
}

step=1
unpack "$archive" "$steps/1"
while parent=$(said "$steps/$step" parent file_name) && [ -n "$parent" ]; do
  case $parent in */*) fail "The archive is not safe: it builds on $parent." ;; esac
  echo "It is incremental and builds on $parent."
  sum=$(said "$steps/$step" parent metadata_sha256)
  step=$((step + 1))
  unpack_before "$parent" "$sum" "$steps/$step"
done
# The full backup first, then step by step what changed.
mv "$steps/$step"/* "$folder"
while [ "$step" -gt 1 ]; do
  step=$((step - 1))
  apply "$steps/$step/database.delta" "$folder/database.sqlite3"
  remove_gone "$steps/$step" "$folder"
  cp -R -p "$steps/$step/." "$folder"
  rm -r "${steps:?}/$step"
done
echo "The files are in $folder."
expected=$(sed -n '/^ "reproduces": {/,/^ }/s/^   "sha256": "\(.*\)",*$/\1/p' "$folder/backup_metadata.json" 2>/dev/null | head -n 1)
if [ -n "$expected" ]; then
  [ "$(sha256sum <"$folder/database.sqlite3")" = "$expected  -" ] || fail "The database is not what was backed up."
fi
if [ -f "$folder/database.sqlite3" ]; then
  if command -v sqlite3 >/dev/null; then
    [ "$(sqlite3 "$folder/database.sqlite3" 'PRAGMA integrity_check')" = ok ] || fail "The database is damaged."
    echo "The database is intact: $folder/database.sqlite3"
  else
    echo "The database is $folder/database.sqlite3 (sqlite3 is not installed, so it was not checked)."
  fi
fi
