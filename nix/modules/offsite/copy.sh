# Copies what this machine alone holds to the bucket, each file once, encrypted here for the stack's own key.
#
#   copy.sh files FOLDER PATTERN KIND     every file of FOLDER that matches and is not there yet
#   copy.sh dataset DATASET KIND          the newest daily snapshot of a ZFS dataset, whole
#
# Environment: BUCKET, PREFIX (hosts/NAME), RECIPIENTS (a file of age), RUNTIME_DIRECTORY; RCLONE_* and AWS_* as rclone
# reads them. A copy is NAME.age. Its SHA-256 in NAME.age.sum is written last, so that a copy without it counts as none
# and is made again.
# shellcheck shell=bash
set -euo pipefail

# The names below a place of the bucket; none where nothing is there yet.
listed() {
  local found status=0
  found=$(rclone lsf --files-only ":s3:$BUCKET/$PREFIX/$1" 2>"$RUNTIME_DIRECTORY/said") || status=$?
  # 3 is rclone's "directory not found"
  if [ "$status" != 0 ] && [ "$status" != 3 ]; then
    cat "$RUNTIME_DIRECTORY/said" >&2
    return "$status"
  fi
  printf '%s\n' "$found"
}

# What a command writes, to the place $1 of the bucket. A command that fails leaves no sum, and so no copy.
upload() {
  local name=$1 place=":s3:$BUCKET/$PREFIX/$1" pipe="$RUNTIME_DIRECTORY/pipe" sum="$RUNTIME_DIRECTORY/sum" summing
  shift
  rm -f "$pipe"
  mkfifo -m 600 "$pipe"
  sha256sum <"$pipe" >"$sum" &
  summing=$!
  if ! "$@" | age --encrypt --recipients-file "$RECIPIENTS" | tee "$pipe" | rclone rcat "$place"; then
    wait "$summing" || true
    echo "$name: not copied" >&2
    return 1
  fi
  # Spelled out: bash ends no function by itself whose caller looks at its result.
  wait "$summing" || return 1
  printf '%s  %s\n' "$(cut -d' ' -f1 <"$sum")" "${name##*/}" | rclone rcat "$place.sum" || return 1
  echo "$name: copied"
}

files() {
  local folder=$1 pattern=$2 kind=$3 there failed=0 file name
  there=$(listed "$kind")
  for file in "$folder"/$pattern; do
    [ -f "$file" ] || continue
    name="${file##*/}.age"
    grep -qxF "$name.sum" <<<"$there" && continue
    # The oldest may be pruned while we copy; the next run sees to the rest.
    upload "$kind/$name" cat "$file" || failed=1
  done
  return "$failed"
}

dataset() {
  local name=$1 kind=$2 there snapshot all
  all=$(zfs list -H -o name -S creation -t snapshot -d 1 "$name")
  snapshot=$(grep -m1 '_daily$' <<<"$all" || head -n1 <<<"$all")
  if [ -z "$snapshot" ]; then
    echo "$name has no snapshot yet" >&2
    return 1
  fi
  there=$(listed "$kind")
  if grep -qxF "${snapshot#*@}.zfs.age.sum" <<<"$there"; then
    echo "$snapshot: copied already"
    return
  fi
  upload "$kind/${snapshot#*@}.zfs.age" zfs send --large-block --compressed "$snapshot"
}

"$@"
