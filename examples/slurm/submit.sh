#!/bin/bash
# Filters a dump as a Slurm array, and puts the parts together when all are done:
#   submit.sh INPUT OUTPUT WHOLE [PARTS]
set -euo pipefail
input=$1 output=$2 whole=$3 parts=${4:-64}
here=$(cd "$(dirname "$0")" && pwd)

array=$(sbatch --parsable --array="0-$((parts - 1))" "$here/filter.sbatch" "$input" "$output" "$parts")
# A task that ends with 3 could not read some input whole: then look first, and merge by hand.
sbatch --dependency="afterok:${array%%;*}" --job-name=lowbg-merge \
  --wrap "lowbg merge '$output' -o '$whole'"
