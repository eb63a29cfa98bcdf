#!/usr/bin/env bash
# demo.sh PYTHON [COMMAND...]: Table 1, or what else makes tables, with tiny settings, from `sbatch` to the printed table, on the cluster of
# one_node.sh. Nothing is left behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=$1
shift
[ $# -gt 0 ] || set -- table1
slurm/cluster/one_node.sh check # what is not ours is not taken down behind us
folder=$(mktemp -d)
trap 'slurm/cluster/one_node.sh down; rm -rf "$folder"' EXIT
slurm/cluster/one_node.sh up
run() {
    echo "+ python -m benchmarks.run $*"
    "$python" -m benchmarks.run "$@" --store "$folder/store"
}
run "$@" --tiny --executor slurm --profile one-node --results "$folder/results"
run status || true
echo "+ python -m benchmarks.run status --watch"
"$python" -m benchmarks.run status --watch --every 5 --store "$folder/store" >"$folder/watched"
tail -n 1 "$folder/watched"
run collect
