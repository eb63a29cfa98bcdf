#!/usr/bin/env bash
# A whole SLURM on this machine's loopback, for trying the batch path and for its tests. Debian, as root, no systemd needed.
#
#   one_node.sh check    fail if this machine's SLURM is another cluster's; touches nothing
#   one_node.sh up       check, install what is missing, write /etc/slurm, start what is not running, wait until the node is idle
#   one_node.sh down     cancel all jobs and stop the daemons that this script started
#   one_node.sh status   what runs
#
# Environment:
#   ACCOUNTING=yes|no    slurmdbd over MariaDB, so that sacct answers; or none, as on some clusters  [yes]
#   NODE_CPUS NODE_MB NODE_GPUS   what the node claims to have; nobody checks  [8, 16000, 2]
#   BASE                 state, logs, process ids; kept by `down`, `rm -rf` it for a fresh start  [/var/lib/slurm-one-node]
#
# Partitions: main; spare, whose jobs are pre-empted by main's with 20 s of notice.
set -euo pipefail
ACCOUNTING=${ACCOUNTING:-yes}
NODE_CPUS=${NODE_CPUS:-8} NODE_MB=${NODE_MB:-16000} NODE_GPUS=${NODE_GPUS:-2}
BASE=${BASE:-/var/lib/slurm-one-node}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
HOST=$(hostname -s)
MARK='# written by one_node.sh'
export MYSQL_UNIX_PORT=$BASE/run/mysqld.sock # mariadb and slurmdbd read it; nothing listens on TCP

die() { echo "one_node.sh: $*" >&2; exit 1; }

alive() { # PIDFILE NAME: that process lives and is that program
    local pid
    pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ]
}

wait_for() { # SECONDS WHAT COMMAND...
    local left=$(($1 * 5)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ $left -gt 0 ] || { echo "one_node.sh: gave up waiting for $what; logs are in $BASE/log" >&2; return 1; }
        sleep 0.2
    done
}

check() { # before anything is installed, started or stopped: a real cluster's node goes on undisturbed
    local path remedy="try on a machine without SLURM"
    for path in /etc/slurm/slurm.conf /etc/slurm/gres.conf /etc/slurm/slurmdbd.conf; do
        [ ! -e "$path" ] || grep -q "^$MARK" "$path" || die "$path belongs to another cluster; not touching it: $remedy"
    done
}

config() { # FILE: writes standard input to /etc/slurm/FILE
    { echo "$MARK"; cat; } >"/etc/slurm/$1"
}

configure() {
    install -d -m 755 /etc/slurm "$BASE" "$BASE/run" "$BASE/log" "$BASE/gpu" "$BASE/slurmd"
    install -d -m 755 -o slurm -g slurm "$BASE/ctld" "$BASE/run/slurm" "$BASE/log/slurm"
    local storage="AccountingStorageType=accounting_storage/none" types="" gres="" number
    if [ "$ACCOUNTING" = yes ]; then
        storage=$'AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=127.0.0.1\nAccountingStoragePort=6819'
    fi
    if [ "$NODE_GPUS" != 0 ]; then
        types="GresTypes=gpu" gres="Gres=gpu:$NODE_GPUS"
    fi
    config slurm.conf <<C
ClusterName=one
SlurmctldHost=$HOST(127.0.0.1)
SlurmUser=slurm
AuthType=auth/munge
# a requeued job waits this long (120 s by default) before it may start again
AuthInfo=cred_expire=5
# 127.0.0.1 instead of all interfaces
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPidFile=$BASE/run/slurm/slurmctld.pid
SlurmdPidFile=$BASE/run/slurmd.pid
SlurmctldLogFile=$BASE/log/slurm/slurmctld.log
SlurmdLogFile=$BASE/log/slurmd.log
StateSaveLocation=$BASE/ctld
SlurmdSpoolDir=$BASE/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_min_interval=0,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
# the signal of \`sbatch --signal\` as notice, not SIGTERM
SlurmctldParameters=preempt_send_user_signal
ReturnToService=2
JobRequeue=1
KillWait=5
MinJobAge=600
SlurmdTimeout=30
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
# without cgroups, this is what ends a job that takes more memory than it asked for
JobAcctGatherParams=OverMemoryKill
$storage
$types
# what the next line claims counts, not what the machine has
SlurmdParameters=config_overrides
NodeName=$HOST NodeAddr=127.0.0.1 CPUs=$NODE_CPUS RealMemory=$NODE_MB $gres State=UNKNOWN
PartitionName=main Nodes=$HOST Default=YES MaxTime=INFINITE DefMemPerCPU=200 PriorityTier=10 PreemptMode=OFF
PartitionName=spare Nodes=$HOST MaxTime=INFINITE DefMemPerCPU=200 PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
C
    for ((number = 0; number < NODE_GPUS; number++)); do
        # a device must be a device file, each its own: these are copies of /dev/null
        [ -c "$BASE/gpu/nvidia$number" ] || mknod -m 666 "$BASE/gpu/nvidia$number" c 1 3
        echo "NodeName=$HOST Name=gpu File=$BASE/gpu/nvidia$number"
    done | config gres.conf
    [ "$ACCOUNTING" = yes ] || return 0
    config slurmdbd.conf <<C
AuthType=auth/munge
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=6819
CommunicationParameters=NoInAddrAny
SlurmUser=slurm
LogFile=$BASE/log/slurm/slurmdbd.log
PidFile=$BASE/run/slurm/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
C
    chmod 600 /etc/slurm/slurmdbd.conf
    chown slurm /etc/slurm/slurmdbd.conf
}

start_munge() {
    [ -s /etc/munge/munge.key ] || die "no /etc/munge/munge.key: make one with mungekey -c"
    install -d -m 755 -o munge -g munge /run/munge
    if ! alive /run/munge/munged.pid munged; then
        setpriv --reuid munge --regid munge --init-groups /usr/sbin/munged
        wait_for 10 munged test -s /run/munge/munged.pid
        cp /run/munge/munged.pid "$BASE/run/munged.pid" # ours to stop; one that ran before is not
    fi
    wait_for 10 munged sh -c 'munge -n | unmunge'
}

start_accounting() {
    if ! alive "$BASE/run/mariadbd.pid" mariadbd; then
        [ -d "$BASE/mysql/mysql" ] || mariadb-install-db --no-defaults --user=root --datadir="$BASE/mysql" \
            --auth-root-authentication-method=normal --skip-test-db >"$BASE/log/mariadb-install.log" 2>&1
        setsid mariadbd --no-defaults --user=root --datadir="$BASE/mysql" --skip-networking --socket="$MYSQL_UNIX_PORT" \
            --pid-file="$BASE/run/mariadbd.pid" --log-error="$BASE/log/mariadbd.log" --innodb-buffer-pool-size=64M \
            --innodb-lock-wait-timeout=900 --innodb-log-file-size=16M --performance-schema=OFF </dev/null >/dev/null 2>&1 &
        wait_for 60 mariadbd mariadb --no-defaults -e "select 1"
    fi
    mariadb --no-defaults -e "CREATE DATABASE IF NOT EXISTS slurm_acct_db;
        CREATE USER IF NOT EXISTS slurm@localhost IDENTIFIED BY 'slurm'; GRANT ALL ON slurm_acct_db.* TO slurm@localhost;"
    alive "$BASE/run/slurm/slurmdbd.pid" slurmdbd || slurmdbd
    wait_for 60 slurmdbd sacctmgr -n show cluster
    [ -n "$(sacctmgr -nP show cluster one)" ] || sacctmgr -i add cluster one >/dev/null
}

start_slurm() {
    alive "$BASE/run/slurm/slurmctld.pid" slurmctld || slurmctld
    wait_for 60 slurmctld sh -c 'scontrol ping | grep -q UP'
    alive "$BASE/run/slurmd.pid" slurmd || slurmd
    # what an earlier configuration or test had drained stays drained until told otherwise
    case $(sinfo -h -N -o %T) in drain* | down* | inval*) scontrol update "nodename=$HOST" state=resume || true ;; esac
    wait_for 60 "an idle node" sh -c "sinfo -h -o %T | grep -qxE 'idle|mixed|allocated'"
}

stop() { # PIDFILE NAME
    alive "$1" "$2" || return 0
    local pid
    pid=$(cat "$1")
    kill "$pid"
    wait_for 30 "$2 to end" sh -c "! kill -0 $pid"
}

down() {
    local failed=0
    if alive "$BASE/run/slurm/slurmctld.pid" slurmctld; then
        squeue -h -o %A | sort -u | xargs -r scancel 2>/dev/null || true
        wait_for 40 "jobs to end" sh -c '[ -z "$(squeue -h)" ]' || failed=1
    fi
    stop "$BASE/run/slurmd.pid" slurmd || failed=1
    stop "$BASE/run/slurm/slurmctld.pid" slurmctld || failed=1
    stop "$BASE/run/slurm/slurmdbd.pid" slurmdbd || failed=1
    stop "$BASE/run/mariadbd.pid" mariadbd || failed=1
    stop "$BASE/run/munged.pid" munged || failed=1
    return $failed
}

[ "$(id -u)" = 0 ] || die "must run as root: it starts daemons and writes /etc/slurm"
case ${1:-} in
check) check ;;
up)
    check
    "$HERE/../../.ci/packages" slurm
    configure
    start_munge
    [ "$ACCOUNTING" != yes ] || start_accounting
    start_slurm
    ;;
down) down ;;
status)
    for daemon in /run/munge/munged "$BASE/run/mariadbd" "$BASE/run/slurm/slurmdbd" "$BASE/run/slurm/slurmctld" "$BASE/run/slurmd"; do
        alive "$daemon.pid" "${daemon##*/}" && echo "${daemon##*/}: process $(cat "$daemon.pid")" || echo "${daemon##*/}: down"
    done
    ;;
*) die "usage: $0 check|up|down|status" ;;
esac
