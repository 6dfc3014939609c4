# Waits until its standard input ends, which it does when the process that started it ends, whatever way. Then all that belongs to the
# folder $1, whose name no other folder's begins with, goes: processes that work in it, were started for it or have it as TMPDIR,
# mounts, loop devices, files. What is of other users, or no business of this system, is left out.
trap '' HUP INT TERM
cat > /dev/null
cd /
PATH=$PATH:/usr/sbin:/sbin

belonging() {
  {
    grep -slaF -- "$1" /proc/[0-9]*/environ /proc/[0-9]*/cmdline
    ls -l /proc/[0-9]*/cwd 2> /dev/null | grep -F -- "-> $1" | sed 's#.* \(/proc/[0-9]*/cwd\) ->.*#\1#'
  } | cut -d / -f 3 | sort -u | grep -vx "$$"
}

for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  pids=$(belonging "$1")
  # Those that looked have its name among their arguments, too, and are gone.
  alive=$(for pid in $pids; do [ -e "/proc/$pid" ] && echo "$pid"; done)
  [ -n "$alive" ] || break
  kill -9 $alive 2> /dev/null
  sleep 0.05
done

# Before their files' own mounts, with which their names go; one that is mounted goes with its mount.
grep -slF -- "$1" /sys/block/loop*/loop/backing_file 2> /dev/null | while read -r file; do
  losetup -d "/dev/$(echo "$file" | cut -d / -f 4)"
done
# The innermost first; a mount may lie over another one.
sed -n "s#^[^ ]* \($1[^ ]*\) .*#\1#p" /proc/self/mounts 2> /dev/null | sed '1!G;h;$!d' | while read -r mount; do
  umount -l "$(printf %b "$mount")"
done
if ! grep -qsF -- " $1" /proc/self/mounts; then
  rm -rf "$1" || { sleep 0.5; rm -rf "$1"; }
fi
