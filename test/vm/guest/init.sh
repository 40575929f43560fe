#!/bin/busybox sh
# The first process of the test guest: sets the machine up, runs the command, reports, switches off.
#
# ttyS0 is the kernel's log; ttyS1 takes the output of the command and nothing else; ttyS2 takes reports, a
# line each: "ready", "failed REASON", "exit STATUS". What to do lies in /run/vm: the file "command", and
# "nics", which has a line "ADDRESS DRIVER" for each network card.

export PATH=/app/node_modules/.bin:/bin:/sbin:/usr/bin
export HOME=/root USER=root TERM=dumb

switch_off() {
  poweroff -f
  # The kernel panics if its first process ends.
  while :; do sleep 1; done
}

fail() {
  echo "failed $*" >&4
  switch_off
}

prepare_system() {
  mount -t proc proc /proc
  mount -t sysfs sysfs /sys
  mount -t devtmpfs devtmpfs /dev
  mkdir -p /dev/shm /dev/pts /home/user
  mount -t tmpfs -o mode=1777 tmpfs /dev/shm
  mount -t devpts devpts /dev/pts
  chown 1000:1000 /home/user
  hostname guest
  ip link set lo up
}

open_channels() {
  # In raw mode a newline stays one byte.
  stty -F /dev/ttyS1 115200 raw -echo
  stty -F /dev/ttyS2 115200 raw -echo
  exec 3>/dev/ttyS1 4>/dev/ttyS2
}

# Each function device is probed only when it is its turn, so that no driver takes a card meant for another.
bind_nics() {
  echo 0 >/sys/bus/pci/drivers_autoprobe
  while read -r address driver; do
    [ -d "/sys/bus/pci/devices/$address" ] || fail "there is no PCI device $address in the guest"
    case $driver in
      vfio-pci) bind_to_vfio "$address" ;;
      virtio-pci) bind_to_kernel "$address" ;;
    esac
  done </run/vm/nics
  echo 1 >/sys/bus/pci/drivers_autoprobe
}

bind_to_vfio() {
  modprobe vfio-pci || fail 'the module vfio-pci does not load'
  # A modprobe of a full system loads it with vfio by itself; busybox's does not know soft dependencies.
  modprobe vfio_iommu_type1 || fail 'the module vfio_iommu_type1 does not load'
  # Only modules that were built for it have the switch; with an IOMMU it changes nothing.
  without_iommu=/sys/module/vfio/parameters/enable_unsafe_noiommu_mode
  [ ! -e "$without_iommu" ] || echo Y >"$without_iommu"
  echo vfio-pci >"/sys/bus/pci/devices/$1/driver_override"
  probe "$1" vfio-pci
}

bind_to_kernel() {
  modprobe virtio_net || fail 'the module virtio_net does not load'
  modprobe virtio_pci || fail 'the module virtio_pci does not load'
  probe "$1" virtio-pci
}

probe() {
  device=/sys/bus/pci/devices/$1
  [ -e "$device/driver" ] || echo "$1" >/sys/bus/pci/drivers_probe
  bound=$(readlink "$device/driver")
  [ "${bound##*/}" = "$2" ] || fail "$1 could not be bound to $2 (${bound:-no driver took it})"
}

# Ends what the command left behind, since the output ends only with its last writer.
end_leftovers() {
  for process in /proc/[0-9]*; do
    pid=${process#/proc/}
    [ "$pid" = 1 ] || [ "$pid" = "$1" ] && continue
    # Threads of the kernel have no executable.
    readlink "$process/exe" >/dev/null 2>&1 && kill -9 "$pid" 2>/dev/null
  done
}

run_command() {
  # The command writes into a pipe: on a serial port it would think that it talks to a terminal.
  mkfifo -m 666 /run/vm/output
  cat /run/vm/output >&3 &
  reader=$!
  cd /app || fail 'there is no /app'
  echo ready >&4
  setsid sh -c "$(cat /run/vm/command)" </dev/null >/run/vm/output 2>&1 3>&- 4>&-
  status=$?
  end_leftovers $reader
  wait $reader
  # Setting a terminal waits until all output has left it.
  stty -F /dev/ttyS1 raw -echo
  echo "exit $status" >&4
}

prepare_system
open_channels
bind_nics
run_command
switch_off
